//! The core: what a click and a postback mean. Pure: time and random bytes are arguments, nothing is read or written.

mod base32;
pub mod click;
pub mod click_page;
pub mod conversion;
pub mod diagnosis;
pub mod id;
pub mod money;
pub mod offer;
pub mod offer_url;
pub mod partner;
pub mod postback;
pub mod query;
pub mod received;
pub mod rejection;
pub(crate) mod rfc3339;
pub mod secret;
pub mod text;
pub mod transaction_id;
pub mod values;
pub mod whitelist;
