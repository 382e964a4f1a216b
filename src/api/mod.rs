//! The management API as it is on the wire: its routes, what they read, what they answer. The edge does what they say.
//!
//! The OpenAPI document is made of these same routes and types, by a test; see `openapi.rs`.

pub mod csv;
#[cfg(test)]
pub(crate) mod openapi;
pub mod params;
pub mod report;
pub mod routes;
pub mod urls;
pub mod view;
