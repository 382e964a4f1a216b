//! An offer URL that is accepted sends every visitor to one scheme and host, whatever the values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark::tracking::offer_url::{Macro, OfferUrl};
use url::{Position, Url};

fuzz_target!(|input: (&str, &str)| {
    let (template, value) = input;
    let Ok(offer_url) = template.parse::<OfferUrl>() else {
        return;
    };
    assert_eq!(String::from(offer_url.clone()), template);
    // `{params}` is encoded by who gives it.
    let expand = |value: &str| {
        offer_url.expand(|name| match name {
            Macro::Params => "a=1".into(),
            _ => value.to_owned().into(),
        })
    };
    let (Ok(plain), Ok(expanded)) = (expand("x"), expand(value)) else {
        return;
    };
    assert!(expanded.bytes().all(|b| b.is_ascii_graphic()));
    let (plain, url) = (Url::parse(&plain).unwrap(), Url::parse(&expanded).unwrap());
    assert_eq!(url[..Position::BeforePath], plain[..Position::BeforePath]);
    assert!(!["javascript", "data", "vbscript"].contains(&url.scheme()));
    let parts = |url: &Url| (url.query().is_some(), url.fragment().is_some());
    assert_eq!(parts(&url), parts(&plain));
    let segments = |url: &Url| url.path_segments().map(Iterator::count);
    assert_eq!(segments(&url), segments(&plain), "{template} {value:?}");
});
