//! Offer URLs: judged and compiled once, expanded for each click.
//!
//! A value is percent-encoded down to RFC 3986's unreserved characters, which no component of a URL gives a meaning,
//! so it can neither end the component it stands in nor start another. One meaning is left: a path segment of dots
//! climbs the path, so in a path a value of nothing but dots counts as empty.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{ParseError, Position, Url};

use super::values::SubIds;

/// The longest offer URL, in bytes: what browsers and proxies commonly accept.
pub const MAX_OFFER_URL_BYTES: usize = 2048;

/// The longest expanded URL, in bytes. Cloudflare's limit for all headers of an answer is 128 KB; values come from a
/// query of at most 8 KB and grow at most threefold, so only a macro that stands many times gets here.
pub const MAX_EXPANDED_BYTES: usize = 32 * 1024;

/// Schemes that a browser runs or opens in its own name.
const REFUSED_SCHEMES: [&str; 8] = [
    "javascript",
    "data",
    "vbscript",
    "blob",
    "file",
    "filesystem",
    "about",
    "view-source",
];

/// Schemes whose host is a domain name or an IP address; the host of an app's scheme is the app's own matter.
const WEB_SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a macro stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as on the wire")]
pub enum Macro {
    TransactionId,
    OfferId,
    OfferName,
    OfferRef,
    AdvertiserId,
    AdvertiserRef,
    AffiliateId,
    AffiliateName,
    AffiliateRef,
    /// One of [`SubIds::NAMES`], by its place.
    SubId(usize),
    CountryCode,
    RegionCode,
    City,
    Ip,
    UserAgent,
    Date,
    Time,
    Datetime,
    Ran,
    Currency,
    Payout,
    /// The extra query parameters: already encoded.
    Params,
}

impl Macro {
    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "transaction_id" => Self::TransactionId,
            "offer_id" => Self::OfferId,
            "offer_name" => Self::OfferName,
            "offer_ref" => Self::OfferRef,
            "advertiser_id" => Self::AdvertiserId,
            "advertiser_ref" => Self::AdvertiserRef,
            "affiliate_id" | "aff_id" => Self::AffiliateId,
            "affiliate_name" => Self::AffiliateName,
            "affiliate_ref" => Self::AffiliateRef,
            "aff_sub1" => Self::SubId(SubIds::index_of("aff_sub")?),
            "country_code" => Self::CountryCode,
            "region_code" => Self::RegionCode,
            "city" => Self::City,
            "ip" => Self::Ip,
            "user_agent" => Self::UserAgent,
            "date" => Self::Date,
            "time" => Self::Time,
            "datetime" => Self::Datetime,
            "ran" => Self::Ran,
            "currency" => Self::Currency,
            "payout" => Self::Payout,
            "params" => Self::Params,
            _ => Self::SubId(SubIds::index_of(name)?),
        })
    }
}

/// Why an offer URL cannot be used. Places count bytes from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OfferUrlError {
    #[error("is longer than {MAX_OFFER_URL_BYTES} bytes")]
    TooLong,
    #[error("holds white space or a control character at byte {0}: write it percent-encoded")]
    WhiteSpace(usize),
    #[error("holds a brace at byte {0} that opens or closes no macro: write %7B or %7D")]
    Brace(usize),
    #[error("holds {{{0}}} at byte {1}: no such macro")]
    UnknownMacro(String, usize),
    #[error("is not an absolute URL: {0}")]
    NotAUrl(ParseError),
    #[error("has the scheme {0}:, which can run script or open local content")]
    Scheme(String),
    #[error(
        "has a macro in the scheme, host, port or user name: values may stand in path, query and fragment only"
    )]
    MacroInAuthority,
    #[error("holds a macro in a path segment that `..` takes away again")]
    MacroRemoved,
    #[error(
        "holds a path segment of dots around a macro, which an empty value would make climb the path"
    )]
    DotsAroundMacro,
    #[error("holds a user name or password")]
    Credentials,
    #[error(
        "holds a character at byte {0} that is not ASCII: write it percent-encoded, in a host as punycode"
    )]
    NotAscii(usize),
    #[error("holds a macro, which only the offer URL can")]
    MacroInPlainUrl,
    #[error("is not an http or https URL")]
    NotHttp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro { name: Macro, in_path: bool },
}

/// An offer URL, ready to be expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("examples" = ["https://shop.example/?t={transaction_id}"])))]
#[serde(try_from = "String", into = "String")]
pub struct OfferUrl {
    /// As the network wrote it.
    text: String,
    parts: Vec<Part>,
}

/// The expanded URL is longer than [`MAX_EXPANDED_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpandedTooLong;

impl OfferUrl {
    /// Puts values in the place of the macros.
    ///
    /// # Errors
    /// When the result is longer than [`MAX_EXPANDED_BYTES`].
    pub fn expand<'v>(
        &self,
        value: impl Fn(Macro) -> Cow<'v, str>,
    ) -> Result<String, ExpandedTooLong> {
        let mut url = String::with_capacity(self.text.len() + 256);
        for part in &self.parts {
            match part {
                Part::Literal(text) => url.push_str(text),
                Part::Macro {
                    name: Macro::Params,
                    ..
                } => url.push_str(&value(Macro::Params)),
                Part::Macro { name, in_path } => {
                    let value = value(*name);
                    if !in_path || value.bytes().any(|b| b != b'.') {
                        url.extend(encode(&value));
                    }
                }
            }
            if url.len() > MAX_EXPANDED_BYTES {
                return Err(ExpandedTooLong);
            }
        }
        Ok(url)
    }

    /// Whether the macro stands in the URL.
    pub fn uses(&self, name: Macro) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Macro { name: used, .. } if *used == name))
    }
}

/// Percent-encodes all but unreserved characters.
pub(super) fn encode(value: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(value, RESERVED)
}

impl std::str::FromStr for OfferUrl {
    type Err = OfferUrlError;

    fn from_str(text: &str) -> Result<Self, OfferUrlError> {
        if text.len() > MAX_OFFER_URL_BYTES {
            return Err(OfferUrlError::TooLong);
        }
        if let Some((place, _)) = text
            .char_indices()
            .find(|(_, c)| c.is_whitespace() || c.is_control())
        {
            return Err(OfferUrlError::WhiteSpace(place + 1));
        }
        // Without the Unicode tables of IDNA, `url` cannot judge a host that is not ASCII.
        if let Some((place, _)) = text.char_indices().find(|(_, c)| !c.is_ascii()) {
            return Err(OfferUrlError::NotAscii(place + 1));
        }
        if has_escaped_host(text) {
            return Err(OfferUrlError::NotAUrl(ParseError::InvalidDomainCharacter));
        }
        let (mark, marked, macros) = mark_macros(text)?;
        let url = Url::parse(&marked).map_err(OfferUrlError::NotAUrl)?;
        if REFUSED_SCHEMES.contains(&url.scheme()) {
            return Err(OfferUrlError::Scheme(url.scheme().to_owned()));
        }
        if url[..Position::BeforePath].contains(&mark) || makes_authority_when_empty(&url, &mark) {
            return Err(OfferUrlError::MacroInAuthority);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OfferUrlError::Credentials);
        }
        let climbs_when_empty = |segment: &str| {
            let rest = segment.replace(&mark, "").to_ascii_lowercase();
            segment.contains(&mark) && [".", ".."].contains(&rest.replace("%2e", ".").as_str())
        };
        if url.path().split('/').any(climbs_when_empty) {
            return Err(OfferUrlError::DotsAroundMacro);
        }
        let path_end = url[..Position::AfterPath].len();
        let mut parts = Vec::new();
        let mut place = 0;
        let mut literals = url.as_str().split(&mark);
        for literal in literals.by_ref().take(1) {
            place += literal.len();
            parts.push(Part::Literal(literal.to_owned()));
        }
        for (&name, literal) in macros.iter().zip(literals.by_ref()) {
            parts.push(Part::Macro {
                name,
                in_path: place < path_end,
            });
            parts.push(Part::Literal(literal.to_owned()));
            place += mark.len() + literal.len();
        }
        if parts.len() != 2 * macros.len() + 1 {
            return Err(OfferUrlError::MacroRemoved);
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

/// Whether an empty value would turn `app:{aff_sub}//text` or `app:/{aff_sub}/text` into a URL with a host.
fn makes_authority_when_empty(url: &Url, mark: &str) -> bool {
    let path = url.path();
    let start = path.strip_prefix('/').unwrap_or(path);
    !url.has_authority()
        && start.starts_with(mark)
        && start.trim_start_matches(mark).starts_with('/')
}

/// Whether the host of a web URL holds a percent-encoded character, which may stand for one that is not ASCII.
fn has_escaped_host(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let mut parts = rest
            .trim_start_matches(['/', '\\'])
            .split(['/', '\\', '?', '#']);
        WEB_SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
            && parts.next().is_some_and(|host| host.contains('%'))
    })
}

/// Puts a mark in the place of each macro: letters that stand nowhere else in the text and that a URL parser leaves
/// as they are. Gives the mark, the marked text and the macros in their order.
fn mark_macros(text: &str) -> Result<(String, String, Vec<Macro>), OfferUrlError> {
    let lower_case = text.to_ascii_lowercase();
    let mut mark = String::from("macro");
    while lower_case.contains(&mark) {
        mark.push('x');
    }
    // Ends in a letter that the mark has nowhere else, so that two marks in a row are read as two.
    mark.push('z');

    let mut marked = String::with_capacity(text.len());
    let mut macros = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let place = text.len() - rest.len() + open + 1;
        let (before, braced) = rest.split_at(open);
        let (name, after) = braced
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or(OfferUrlError::Brace(place))?;
        if name.contains('{') {
            return Err(OfferUrlError::Brace(place));
        }
        macros.push(
            Macro::by_name(name)
                .ok_or_else(|| OfferUrlError::UnknownMacro(name.to_owned(), place))?,
        );
        marked.push_str(before);
        marked.push_str(&mark);
        rest = after;
    }
    marked.push_str(rest);
    Ok((mark, marked, macros))
}

impl TryFrom<String> for OfferUrl {
    type Error = OfferUrlError;

    fn try_from(text: String) -> Result<Self, OfferUrlError> {
        text.parse()
    }
}

impl From<OfferUrl> for String {
    fn from(url: OfferUrl) -> Self {
        url.text
    }
}

/// An `http` or `https` URL without macros: a fallback or a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("examples" = ["https://shop.example/closed"])))]
#[serde(try_from = "String", into = "String")]
pub struct PlainUrl {
    text: String,
}

impl PlainUrl {
    /// The URL, in visible ASCII.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for PlainUrl {
    type Error = OfferUrlError;

    fn try_from(text: String) -> Result<Self, OfferUrlError> {
        let url: OfferUrl = text.parse()?;
        match url.parts.as_slice() {
            [Part::Literal(text)]
                if text.starts_with("http://") || text.starts_with("https://") =>
            {
                Ok(Self { text: text.clone() })
            }
            [Part::Literal(_)] => Err(OfferUrlError::NotHttp),
            _ => Err(OfferUrlError::MacroInPlainUrl),
        }
    }
}

impl From<PlainUrl> for String {
    fn from(url: PlainUrl) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expands with one value for every macro.
    fn expand(template: &str, value: &str) -> String {
        let url: OfferUrl = template.parse().expect(template);
        url.expand(|_| Cow::Borrowed(value)).expect("short enough")
    }

    #[test]
    fn puts_values_in_the_place_of_macros() {
        let check = |template: &str, value: &str, expected: &str| {
            assert_eq!(expand(template, value), expected, "{template} {value:?}");
        };
        check("https://shop.example", "v", "https://shop.example/");
        check(
            "https://shop.example/{aff_sub}",
            "v",
            "https://shop.example/v",
        );
        check(
            "https://shop.example/?a={aff_sub}{aff_sub2}&b={source}#{ran}",
            "v",
            "https://shop.example/?a=vv&b=v#v",
        );
        check("myapp://open?x={transaction_id}", "v", "myapp://open?x=v");
        check(
            "myapp:{aff_sub}",
            "//evil.example",
            "myapp:%2F%2Fevil.example",
        );
        check(
            "https://shop.example/macro/macrox/{aff_sub}z",
            "v",
            "https://shop.example/macro/macrox/vz",
        );
        check(
            "https://SHOP.example:443/%C3%A9/{aff_sub}",
            "v",
            "https://shop.example/%C3%A9/v",
        );
        check(
            "https://shop.example/?a={aff_sub}",
            "a&b=c#d/e?f+g h%",
            "https://shop.example/?a=a%26b%3Dc%23d%2Fe%3Ff%2Bg%20h%25",
        );
        check(
            "https://shop.example/?a={aff_sub}",
            "\r\n\0\"'<é",
            "https://shop.example/?a=%0D%0A%00%22%27%3C%C3%A9",
        );
        check(
            "https://shop.example/?a={aff_sub}",
            "{transaction_id}",
            "https://shop.example/?a=%7Btransaction_id%7D",
        );
        check(
            "https://shop.example/{aff_sub}/x",
            "..",
            "https://shop.example//x",
        );
        check(
            "https://shop.example/?a={aff_sub}",
            "..",
            "https://shop.example/?a=..",
        );
        check(
            "https://shop.example/?{params}",
            "a=1&b=%20",
            "https://shop.example/?a=1&b=%20",
        );
    }

    #[test]
    fn knows_every_macro_of_the_contract() {
        for name in "transaction_id offer_id offer_name offer_ref advertiser_id advertiser_ref affiliate_id aff_id \
                     affiliate_name affiliate_ref source aff_sub aff_sub1 aff_sub2 aff_sub3 aff_sub4 aff_sub5 \
                     aff_click_id aff_unique1 aff_unique2 aff_unique3 aff_unique4 aff_unique5 country_code region_code \
                     city ip user_agent date time datetime ran currency payout params"
            .split_whitespace()
        {
            assert!(Macro::by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn refuses_with_the_place() {
        let check = |template: &str, message: &str| {
            let error = template.parse::<OfferUrl>().expect_err(template);
            assert!(error.to_string().contains(message), "{template}: {error}");
        };
        check("", "not an absolute URL");
        check("/landing", "not an absolute URL");
        check("//shop.example/", "not an absolute URL");
        check("https://", "not an absolute URL");
        check("https://shop.example:99999/", "not an absolute URL");
        check("https://shöp.example/", "byte 11 that is not ASCII");
        check("https://SH%C3%B6P.example/", "invalid domain character");
        check("hTTps:SHOP%2eexample/", "invalid domain character");
        check("https://shop.example/é", "byte 22 that is not ASCII");
        check("javascript:alert({aff_sub})", "scheme javascript:");
        check("JavaScript:alert(1)", "scheme javascript:");
        check("data:text/html,{aff_sub}", "scheme data:");
        check("java\tscript:alert(1)", "control character at byte 5");
        check(
            "https://shop.example/a b",
            "white space or a control character at byte 23",
        );
        check(
            "https://shop.example/\r\nX: y",
            "control character at byte 22",
        );
        check("https://shop.example/{nobody}", "{nobody} at byte 22");
        check("https://shop.example/{aff_sub", "brace at byte 22");
        check("https://shop.example/aff_sub}", "brace at byte 29");
        check("https://shop.example/{{aff_sub}}", "brace at byte 22");
        check("https://{aff_sub}.example/", "scheme, host");
        check("https://shop.example{aff_sub}/", "scheme, host");
        check("https://shop.example:{aff_sub}/", "not an absolute URL");
        check("https://{aff_sub}@shop.example/", "scheme, host");
        check("https:{aff_sub}", "scheme, host");
        check("{aff_sub}", "not an absolute URL");
        check("{aff_sub}://shop.example/", "scheme, host");
        check("myapp://{aff_sub}", "scheme, host");
        check("myapp:{aff_sub}//evil.example", "scheme, host");
        check("myapp:/{aff_sub}{source}/evil.example", "scheme, host");
        check(
            "https://user:password@shop.example/",
            "user name or password",
        );
        check("https://shop.example/{aff_sub}/../x", "`..`");
        check(
            "https://shop.example/a/{aff_sub}../x",
            "dots around a macro",
        );
        check(
            "https://shop.example/a/.{aff_sub}%2E{source}",
            "dots around a macro",
        );
        check(
            &format!("https://shop.example/{}", "a".repeat(2048)),
            "longer than 2048",
        );
    }

    #[test]
    fn a_plain_url_has_no_macro_and_is_http() {
        let check = |text: &str, expected: Result<&str, OfferUrlError>| {
            let url = PlainUrl::try_from(text.to_owned());
            assert_eq!(
                url.as_ref().map(PlainUrl::as_str),
                expected.as_ref().copied()
            );
        };
        check(
            "https://shop.example/closed",
            Ok("https://shop.example/closed"),
        );
        check(
            "https://shop.example/{aff_sub}",
            Err(OfferUrlError::MacroInPlainUrl),
        );
        check("myapp://closed", Err(OfferUrlError::NotHttp));
    }

    #[test]
    fn is_bounded() {
        let url: OfferUrl = format!("https://shop.example/{}", "{aff_sub}".repeat(100))
            .parse()
            .expect("url");
        let value = "é".repeat(500);
        assert_eq!(url.expand(|_| Cow::Borrowed(&value)), Err(ExpandedTooLong));
    }

    proptest! {
        /// Whatever the value, the parsed result has the shape of the template and gives the value back.
        #[test]
        fn a_value_stays_in_its_place(value: String) {
            let expanded = expand("https://shop.example/a/{source}/b?x=1&y={aff_sub}&z=2#f{aff_sub2}", &value);
            let url = Url::parse(&expanded).expect("a URL");
            prop_assert_eq!(url.as_str(), &expanded);
            prop_assert_eq!(&url[..Position::BeforePath], "https://shop.example");
            let segments: Vec<_> = url.path_segments().expect("segments").collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert_eq!((segments[0], segments[2]), ("a", "b"));
            let pairs: Vec<_> = url.query_pairs().collect();
            prop_assert_eq!(pairs.len(), 3);
            prop_assert_eq!(&pairs[1].1, &value);
            prop_assert!(expanded.bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn compiles_anything_without_panic(text in "(https://shop.example/)?[a-z{}_./:?#@é]{0,60}") {
            if let Ok(url) = text.parse::<OfferUrl>() {
                let _ = url.expand(|_| Cow::Borrowed("v"));
            }
        }
    }
}
