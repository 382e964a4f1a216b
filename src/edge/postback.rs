//! `/aff_lsr` and `/aff_goal`: an advertiser's server reports a conversion.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join;
use worker::{Context, Result};

use super::directory;
use super::kv::{self, KvNamespace};
use super::ledgers::Ledgers;
use super::request::{self, BodyError, Request};
use super::respond::Response;
use super::settings::{Misconfigured, Settings};
use super::{Unreachable, log, rate_limit, respond, runtime};
use crate::tracking::click_page::{self, Session};
use crate::tracking::offer::OfferDocument;
use crate::tracking::partner::Partner;
use crate::tracking::postback::{Configured, Endpoint, Postback, Refusal, Sender, Subject};
use crate::tracking::query::MAX_QUERY_BYTES;
use crate::tracking::received::{self, Received};
use crate::tracking::rejection::{Answer, Rejection};
use crate::tracking::transaction_id::TransactionId;

/// How long KV may take to show a click's page; then the conversion is taken on its signature.
const PAGE_TIME_LIMIT: Duration = Duration::from_secs(3);

/// The answer to a postback by `GET` that needs no waiting, in the standard form: one that proves no click and no offer,
/// and that is not logged, because there were too many. `None` if the general way has to be gone.
pub(super) fn refuse_at_once(url: &str, ip: &str, settings: &Settings) -> Option<String> {
    let (path, query) = request::target(url);
    let postback = Postback::parse(Endpoint::at(path)?, query, "").ok()?;
    let rejection = postback.subject(settings.keyring.as_ref().ok()?).err()?;
    let is_logged = rate_limit::would_admit(request::ip(ip), runtime::now());
    (!is_logged && !postback.wants_json()).then(|| Answer::Refused(rejection).text())
}

pub(super) async fn answer(
    endpoint: Endpoint,
    request: Request,
    settings: &Rc<Settings>,
    context: &Context,
) -> Result<Response> {
    if !matches!(request.method(), "GET" | "POST") {
        return respond::method_not_allowed("GET, POST");
    }
    let form = match form(&request).await {
        Ok(form) => form,
        Err(BodyError::TooLong) => return respond::text(413, "The form is longer than 8 KB."),
        Err(BodyError::Unreadable) => return respond::text(400, "The form cannot be read."),
    };
    let Ok(postback) = Postback::parse(endpoint, request.query(), &form) else {
        return respond::text(414, "The query is longer than 8 KB.");
    };
    let keyring = match &settings.keyring {
        Ok(keyring) => keyring,
        Err(error) => {
            log::error("misconfigured", error);
            return respond::misconfigured_for_now(error);
        }
    };
    let now = runtime::now();
    let sent = Sent {
        postback: &postback,
        request: &request,
        form: &form,
        ip: request.ip(),
        referrer: request.header("Referer"),
        now,
    };
    let result = match postback.subject(keyring) {
        Ok(subject) => judge(&sent, subject, settings, context).await,
        Err(rejection) => {
            log_forged(&sent, &rejection, settings, context);
            Ok(Answer::Refused(rejection))
        }
    };
    match result {
        Ok(answer) => respond::postback(&answer, postback.wants_json()),
        Err(Unreachable) => respond::unavailable(),
    }
}

/// The form of a POST; empty for other requests and bodies.
async fn form(request: &Request) -> std::result::Result<String, BodyError> {
    let is_form = request.method() == "POST"
        && request.header("Content-Type").is_some_and(|content_type| {
            let mime = content_type.split(';').next().unwrap_or_default().trim();
            mime.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if is_form {
        request.body(MAX_QUERY_BYTES).await
    } else {
        Ok(String::new())
    }
}

/// A postback and how it came.
struct Sent<'s> {
    postback: &'s Postback<'s>,
    request: &'s Request,
    form: &'s str,
    ip: Option<IpAddr>,
    referrer: Option<String>,
    now: DateTime<Utc>,
}

impl Sent<'_> {
    /// What the log keeps; with the ID in its own form, if it is genuine.
    fn received(&self, subject: Option<&Subject>) -> Received {
        let transaction_id = match subject {
            Some(Subject::Click(id)) => Some(id.to_string()),
            _ => self
                .postback
                .transaction_id()
                .map(|id| id.chars().take(received::MAX_ID_CHARS).collect()),
        };
        let query = received::masked(self.request.query());
        let separator = if query.is_empty() { "" } else { "?" };
        Received {
            received_at: self.now,
            method: self.request.method().to_owned(),
            target: format!("{}{separator}{query}", self.request.path()),
            form: received::masked(self.form),
            sender_ip: self.ip,
            referrer: received::header(self.referrer.as_deref()),
            transaction_id,
            genuine: matches!(subject, Some(Subject::Click(_))),
        }
    }
}

/// Logs a postback that proves no offer, as far as the limits allow; with the offer that it names, too.
fn log_forged(sent: &Sent<'_>, rejection: &Rejection, settings: &Rc<Settings>, context: &Context) {
    let Ok(ledgers) = Ledgers::of(settings) else {
        return;
    };
    if !rate_limit::admits(sent.ip, sent.now) {
        return;
    }
    let received = sent.received(None);
    ledgers.refuse_unattributed(received.clone(), rejection, context);
    if let Some(offer) = sent.postback.offer() {
        let (settings, rejection) = (Rc::clone(settings), rejection.clone());
        context.wait_until(async move {
            if let Ok(Some(_)) = directory::get::<OfferDocument>(offer, &settings).await {
                ledgers.log_refused(offer, None, received, &rejection).await;
            }
        });
    }
}

/// Fetches what the checks need, runs them, and has the ledger record what comes of it.
async fn judge(
    sent: &Sent<'_>,
    subject: Subject,
    settings: &Settings,
    context: &Context,
) -> std::result::Result<Answer, Unreachable> {
    let Sent {
        postback, ip, now, ..
    } = *sent;
    let (kv, ledgers) = match (&settings.kv, Ledgers::of(settings)) {
        (Ok(kv), Ok(ledgers)) => (kv, ledgers),
        (Err(error), _) => return Err(misconfigured(error)),
        (_, Err(error)) => return Err(misconfigured(&error)),
    };
    let offer = directory::get::<OfferDocument>(subject.offer(), settings);
    let (document, partner, session) = match &subject {
        Subject::Click(id) => {
            let (document, session) = join(offer, find_session(kv, id)).await;
            (document?, None, session)
        }
        Subject::Partner(_, Some(partner)) => {
            let (document, partner) =
                join(offer, directory::get::<Partner>(*partner, settings)).await;
            (document?, partner?, None)
        }
        Subject::Partner(_, None) => (offer.await?, None, None),
    };
    let document = match (document, &subject) {
        (Some(document), _) => document,
        (None, Subject::Partner(..)) => {
            let rejection = Rejection::InvalidParameter("offer_id");
            if rate_limit::admits(ip, now) {
                ledgers.refuse_unattributed(sent.received(None), &rejection, context);
            }
            return Ok(Answer::Refused(rejection));
        }
        // The click is genuine, so there was such an offer: its document will be seen again.
        (None, Subject::Click(id)) => {
            log::error("offer_missing", &OfferDocument::key(id.offer));
            return Err(Unreachable);
        }
    };
    let sender = Sender {
        ip,
        referrer: sent.referrer.as_deref(),
    };
    let configured = Configured {
        document: &document,
        partner: partner.as_deref(),
    };
    match postback.check(&subject, configured, session, sender, now) {
        Ok(claim) => {
            let received = Received {
                genuine: true,
                ..sent.received(Some(&subject))
            };
            ledgers
                .claim(subject.offer(), claim, received, context)
                .await
        }
        Err(Refusal { rejection, record }) => {
            // Whoever sends no genuine ID, but names an offer, could be anybody.
            if matches!(subject, Subject::Click(_)) || rate_limit::admits(ip, now) {
                let received = sent.received(Some(&subject));
                ledgers.refuse(subject.offer(), record, received, &rejection, context);
            }
            Ok(Answer::Refused(rejection))
        }
    }
}

fn misconfigured(error: &Misconfigured) -> Unreachable {
    log::error("misconfigured", error);
    Unreachable
}

/// The session of a click, if KV shows its page.
pub(super) async fn find_session(kv: &KvNamespace, id: &TransactionId) -> Option<Session<'static>> {
    match kv::read(kv, &id.page.key(), PAGE_TIME_LIMIT).await {
        Ok(page) => click_page::find(&page?, id.as_str()),
        Err(cause) => {
            log::error("click_page_unreadable", &cause);
            None
        }
    }
}
