//! A request from outside, read no further than it is needed.

use std::net::IpAddr;

use futures_util::StreamExt;
use worker::Cf;
use worker::worker_sys::ext::RequestExt;
use worker::worker_sys::web_sys;

/// A request and its URL, split once.
pub(super) struct Request {
    /// As JavaScript has it: `worker::Request` reads everything at once, and to read `cf` is to parse 2 KB of JSON.
    inner: web_sys::Request,
    headers: web_sys::Headers,
    url: String,
    method: String,
}

/// A body that is longer than its reader takes, or that broke off.
pub(super) enum BodyError {
    /// Longer than the limit.
    TooLong,
    /// It broke off, or is not UTF-8.
    Unreadable,
}

/// Path and query of a URL. The runtime gives it absolute, normalised as the URL standard says: no `?` or `#` before the
/// path's end.
pub(super) fn target(url: &str) -> (&str, &str) {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let target = after_scheme
        .find('/')
        .and_then(|start| after_scheme.get(start..))
        .unwrap_or("/");
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    target.split_once('?').unwrap_or((target, ""))
}

/// The address in a header.
pub(super) fn ip(header: &str) -> Option<IpAddr> {
    header.trim().parse().ok()
}

impl Request {
    pub(super) fn new(inner: web_sys::Request) -> Self {
        Self {
            headers: inner.headers(),
            url: inner.url(),
            method: inner.method(),
            inner,
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// Scheme and host, as the client has them.
    pub(super) fn origin(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }

    /// The path, as it stands in the URL.
    pub(super) fn path(&self) -> &str {
        let (path, _) = self.target();
        path
    }

    /// The query, still encoded; empty where there is none.
    pub(super) fn query(&self) -> &str {
        let (_, query) = self.target();
        query
    }

    fn target(&self) -> (&str, &str) {
        target(&self.url)
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }

    /// The client's address, from the header that Cloudflare sets (and, locally, Miniflare). What comes in
    /// `X-Forwarded-For` is anybody's word, and not read.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        ip(&self.header("CF-Connecting-IP")?)
    }

    /// What Cloudflare knows of the client; `None` on a plain workerd.
    pub(super) fn cf(&self) -> Option<Cf> {
        self.inner.cf().map(Cf::from)
    }

    /// The body as text, if it has at most `limit` bytes.
    pub(super) async fn body(&self, limit: usize) -> Result<String, BodyError> {
        let Ok(mut stream) = worker::Request::from(Clone::clone(&self.inner)).stream() else {
            return Ok(String::new());
        };
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| BodyError::Unreadable)?;
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(BodyError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| BodyError::Unreadable)
    }
}
