//! A query as browsers and form encoders write it.

use std::borrow::Cow;

use url::form_urlencoded;

/// The longest query that is read, in bytes: what common servers and proxies pass on.
pub const MAX_QUERY_BYTES: usize = 8 * 1024;

/// The longest value of a partner or an advertiser, in characters, as in TUNE.
pub const MAX_VALUE_CHARS: usize = 500;

/// The query is longer than [`MAX_QUERY_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryTooLong;

/// The pairs of a query in their order, decoded: `+` is a space, `%20` too; broken escapes stay as they are, and
/// what is no UTF-8 becomes U+FFFD.
pub fn pairs(query: &str) -> Result<form_urlencoded::Parse<'_>, QueryTooLong> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(QueryTooLong);
    }
    Ok(form_urlencoded::parse(query.as_bytes()))
}

/// Whether a value has more than [`MAX_VALUE_CHARS`] characters.
pub fn is_too_long(value: &str) -> bool {
    value.len() > MAX_VALUE_CHARS && value.chars().count() > MAX_VALUE_CHARS
}

/// The values of a query by name. The first of a repeated name wins, and an empty value counts as absent.
pub struct Query<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Query<'q> {
    /// Reads a query, and after it a form in the same encoding, empty where there is none. Each has the bound of
    /// [`MAX_QUERY_BYTES`].
    ///
    /// # Errors
    /// When one of the two is too long.
    pub fn parse(query: &'q str, form: &'q str) -> Result<Self, QueryTooLong> {
        Ok(Self(pairs(query)?.chain(pairs(form)?).collect()))
    }

    /// The value of `name`, without white space around it; `None` where it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_browsers_and_forms_write() {
        let check = |query: &str, expected: Option<&str>| {
            let query = Query::parse(query, "").expect("short enough");
            assert_eq!(query.get("a"), expected);
        };
        check("a=b", Some("b"));
        check("?a=b", None);
        check("a=b+c%20d", Some("b c d"));
        check("a=%C3%A9", Some("é"));
        check("a=é", Some("é"));
        check("a=1&a=2", Some("1"));
        check("a=&a=2", None);
        check("a", None);
        check("&&a=b&", Some("b"));
        check("%61=b", Some("b"));
        check("a=b=c", Some("b=c"));
        check("a=%zz%4", Some("%zz%4"));
        check("a=%ff", Some("\u{fffd}"));
        check("a=%00", Some("\0"));
        check("a=+b+", Some("b"));
    }

    #[test]
    fn the_query_comes_before_the_form() {
        let query = Query::parse("a=1", "a=2&b=3").expect("short enough");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("3"));
    }

    #[test]
    fn is_bounded() {
        let longest = "a".repeat(MAX_QUERY_BYTES);
        let longer = "a".repeat(MAX_QUERY_BYTES + 1);
        assert!(Query::parse(&longest, &longest).is_ok());
        assert!(Query::parse(&longer, "").is_err());
        assert!(Query::parse("", &longer).is_err());
        assert!(!is_too_long(&"é".repeat(MAX_VALUE_CHARS)));
        assert!(is_too_long(&"é".repeat(MAX_VALUE_CHARS + 1)));
    }

    proptest! {
        #[test]
        fn reads_anything_without_panic(text: String) {
            if let Ok(query) = Query::parse(&text, &text) {
                query.get("transaction_id");
            }
        }
    }
}
