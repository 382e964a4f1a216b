//! Why did my conversion not count? The raw logs, the tracer, and postbacks that are only tried.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use futures_util::future::join3;

use super::super::ledgers::Ledgers;
use super::super::postback::find_session;
use super::super::{Unreachable, directory, respond, runtime};
use super::problem::ApiError;
use super::{ApiResult, Call, catalog};
use crate::api::params::{self, PostbacksQuery};
use crate::api::view::{
    CheckName, CheckResult, ConversionView, OtherCheck, Page, PostbackView, TestPostback,
    TestResult, Trace, TracedClick,
};
use crate::json;
use crate::ledger::log::LogFilter;
use crate::ledger::message::Message;
use crate::ledger::{ConversionFilter, Recorded};
use crate::tracking::conversion::Uniqueness;
use crate::tracking::diagnosis::{self, Finding};
use crate::tracking::offer::{Offer, OfferDocument};
use crate::tracking::partner::Partner;
use crate::tracking::postback::{Configured, Endpoint, Postback, Sender, Subject};
use crate::tracking::received::{self, LoggedPostback, Received};
use crate::tracking::rejection::{Answer, Rejection};
use crate::tracking::transaction_id::TransactionId;

/// The most conversions and postbacks of one trace.
const MAX_TRACED: u32 = 100;

pub(super) async fn of_offer(call: &Call<'_>, offer: &str) -> ApiResult {
    let query = PostbacksQuery::parse(call.request.query())?;
    let offer = catalog::offer(offer)?;
    catalog::offers(call, Some(offer), None).await?;
    let document = directory::get::<OfferDocument>(offer, call.settings).await?;
    let (filter, limit) = filter(query);
    let postbacks = Ledgers::of(call.settings)?
        .ask(offer, &Message::Postbacks(filter))
        .await?;
    let offer = document.as_ref().map(|document| &document.offer);
    page(call, postbacks, offer, limit)
}

pub(super) async fn unattributed(call: &Call<'_>) -> ApiResult {
    let (filter, limit) = filter(PostbacksQuery::parse(call.request.query())?);
    let postbacks = Ledgers::of(call.settings)?.unattributed(filter).await?;
    page(call, postbacks, None, limit)
}

fn filter(query: PostbacksQuery) -> (LogFilter, u32) {
    let limit = query.limit.unwrap_or_default().0;
    let filter = LogFilter {
        transaction_id: query.transaction_id,
        accepted: query.accepted,
        before: query.cursor,
        limit: limit.saturating_add(1),
    };
    (filter, limit)
}

fn page(
    call: &Call<'_>,
    mut postbacks: Vec<LoggedPostback>,
    offer: Option<&Offer>,
    limit: u32,
) -> ApiResult {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = postbacks.len() > limit;
    postbacks.truncate(limit);
    let next = postbacks.last().filter(|_| has_more);
    Ok(respond::json(&Page {
        next: next.map(|last| last.id.to_string()),
        items: diagnosed(call, postbacks, offer),
    })?)
}

fn diagnosed(
    call: &Call<'_>,
    postbacks: Vec<LoggedPostback>,
    offer: Option<&Offer>,
) -> Vec<PostbackView> {
    let keyring = call.settings.keyring.as_ref().ok();
    postbacks
        .into_iter()
        .map(|logged| {
            let findings = diagnosis::diagnose(&logged.received, &logged.answer, offer, keyring);
            PostbackView::new(logged, findings)
        })
        .collect()
}

pub(super) async fn trace(call: &Call<'_>, text: &str) -> ApiResult {
    params::none(call.request.query())?;
    let text = percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .trim()
        .to_owned();
    let keyring = call.settings.keyring.as_ref()?;
    let ledgers = Ledgers::of(call.settings)?;
    let named = |transaction_id: String| LogFilter {
        transaction_id: Some(transaction_id),
        accepted: None,
        before: None,
        limit: MAX_TRACED,
    };
    let Ok(id) = keyring.verify(&text) else {
        let (problem, message) = diagnosis::not_genuine(&text);
        let logged: String = text.chars().take(received::MAX_ID_CHARS).collect();
        let postbacks = ledgers.unattributed(named(logged)).await?;
        return Ok(respond::json(&Trace {
            genuine: false,
            finding: Some(Finding {
                problem,
                parameter: None,
                message,
            }),
            click: None,
            conversions: vec![],
            postbacks: diagnosed(call, postbacks, None),
            transaction_id: text,
        })?);
    };
    let document = directory::get::<OfferDocument>(id.offer, call.settings).await?;
    let offer = document.as_ref().map(|document| &document.offer);
    let kv = call.settings.kv.as_ref()?;
    let of_id = Message::Conversions(ConversionFilter {
        transaction_id: Some(id.to_string()),
        limit: MAX_TRACED,
        ..ConversionFilter::default()
    });
    let log = Message::Postbacks(named(id.to_string()));
    let (session, conversions, postbacks) = join3(
        find_session(kv, &id),
        ledgers.ask::<Vec<Recorded>>(id.offer, &of_id),
        ledgers.ask(id.offer, &log),
    )
    .await;
    let conversions = conversions?.into_iter();
    Ok(respond::json(&Trace {
        transaction_id: id.to_string(),
        genuine: true,
        finding: None,
        click: Some(TracedClick {
            session,
            ..traced(&id, offer)
        }),
        conversions: conversions
            .map(|recorded| ConversionView::new(id.offer, recorded))
            .collect(),
        postbacks: diagnosed(call, postbacks?, offer),
    })?)
}

fn traced(id: &TransactionId, offer: Option<&Offer>) -> TracedClick {
    let clicked_at = id.clicked_at();
    let age = runtime::now().signed_duration_since(clicked_at);
    TracedClick {
        offer_id: id.offer,
        partner_id: id.partner,
        clicked_at,
        age: diagnosis::span(age),
        expires_at: offer
            .and_then(|offer| clicked_at.checked_add_signed(offer.session_hours.duration())),
        session: None,
    }
}

pub(super) async fn test(call: &Call<'_>) -> ApiResult {
    params::none(call.request.query())?;
    let test: TestPostback = json::read(call.body)?;
    let wrong_url = |reason: &str| ApiError::InvalidBody {
        field: "url".to_owned(),
        reason: reason.to_owned(),
    };
    let target = match test.url.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|start| rest.get(start..))
            .unwrap_or("/"),
        None => test.url.as_str(),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let endpoint = Endpoint::at(path)
        .ok_or_else(|| wrong_url("has neither the path /aff_lsr nor /aff_goal"))?;
    let postback = Postback::parse(endpoint, query, &test.form)
        .map_err(|_| wrong_url("has a query or a form of more than 8 KB"))?;
    let keyring = call.settings.keyring.as_ref()?;
    let now = test.received_at.unwrap_or_else(runtime::now);
    let subject = postback.subject(keyring);
    let mut checks = vec![result(
        CheckName::Other(OtherCheck::TransactionId),
        subject.as_ref().err(),
    )];
    let mut first_fault = subject.as_ref().err().cloned();
    let mut document = None;
    if let Ok(subject) = &subject {
        document = directory::get::<OfferDocument>(subject.offer(), call.settings).await?;
        match &document {
            None => first_fault = Some(Rejection::InvalidParameter("offer_id")),
            Some(document) => {
                let fault =
                    run_checks(call, &test, &postback, subject, document, now, &mut checks).await?;
                first_fault = first_fault.or(fault);
            }
        }
    }
    let answer = first_fault.map_or(Answer::Accepted, Answer::Refused);
    let received = Received {
        received_at: now,
        method: if test.form.is_empty() { "GET" } else { "POST" }.to_owned(),
        target: received::masked(target),
        form: received::masked(&test.form),
        sender_ip: test.sender_ip,
        referrer: received::header(test.referrer.as_deref()),
        transaction_id: postback.transaction_id().map(str::to_owned),
        genuine: subject.is_ok(),
    };
    let offer = document.as_ref().map(|document| &document.offer);
    Ok(respond::json(&TestResult {
        accepted: answer == Answer::Accepted,
        findings: diagnosis::diagnose(&received, &answer.text(), offer, Some(keyring)),
        answer: answer.text(),
        checks,
    })?)
}

/// Runs the checks of an offer, adds their results, and gives the first that fails.
async fn run_checks(
    call: &Call<'_>,
    test: &TestPostback,
    postback: &Postback<'_>,
    subject: &Subject,
    document: &Rc<OfferDocument>,
    now: DateTime<Utc>,
    checks: &mut Vec<CheckResult>,
) -> Result<Option<Rejection>, ApiError> {
    let partner = match subject {
        Subject::Partner(_, Some(partner)) => {
            directory::get::<Partner>(*partner, call.settings).await?
        }
        _ => None,
    };
    let configured = Configured {
        document,
        partner: partner.as_deref(),
    };
    let sender = Sender {
        ip: test.sender_ip,
        referrer: test.referrer.as_deref(),
    };
    let mut first_fault = None;
    for (check, outcome) in postback.checks(subject, configured, sender, now) {
        let fault = outcome.err();
        checks.push(result(CheckName::OfOffer(check), fault.as_ref()));
        first_fault = first_fault.or(fault);
    }
    let fault = find_duplicate(call, postback, subject, &document.offer).await?;
    checks.push(result(
        CheckName::Other(OtherCheck::Duplicate),
        fault.as_ref(),
    ));
    Ok(first_fault.or(fault))
}

async fn find_duplicate(
    call: &Call<'_>,
    postback: &Postback<'_>,
    subject: &Subject,
    offer: &Offer,
) -> Result<Option<Rejection>, Unreachable> {
    let Ok(ledgers) = Ledgers::of(call.settings) else {
        return Err(Unreachable);
    };
    if offer.unique_id {
        let known = match postback.unique_id() {
            Some(unique_id) => ledgers.has_unique_id(unique_id).await?,
            None => false,
        };
        return Ok(known.then_some(Rejection::DuplicateUniqueId));
    }
    match (subject, postback.terms(offer)) {
        (Subject::Click(id), (goal, Uniqueness::Transaction)) => {
            let message = Message::WouldRepeat {
                transaction_id: id.to_string(),
                goal,
            };
            let known: bool = ledgers.ask(offer.id, &message).await?;
            Ok(known.then_some(Rejection::DuplicateConversion))
        }
        _ => Ok(None),
    }
}

fn result(check: CheckName, fault: Option<&Rejection>) -> CheckResult {
    CheckResult {
        check,
        passed: fault.is_none(),
        message: fault.map(ToString::to_string),
    }
}
