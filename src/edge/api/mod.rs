//! The management API, for the network's own token only: finds the route, and turns errors into problem details.

mod catalog;
mod conversions;
mod postbacks;
mod problem;
mod report;

use std::rc::Rc;

use worker::Result;

use super::request::Request;
use super::respond::{self, Response};
use super::settings::Settings;
use crate::api::routes::{self, Found, Operation};
use problem::ApiError;

/// The longest body that is read, in bytes: an offer with 100 goals and 100 addresses has some 30 KB.
const MAX_BODY_BYTES: usize = 256 * 1024;

type ApiResult<T = Response> = std::result::Result<T, ApiError>;

pub(super) async fn answer(request: Request, settings: &Rc<Settings>) -> Result<Response> {
    if request.path() == "/api/v1/openapi.json" && matches!(request.method(), "GET" | "HEAD") {
        return respond::openapi();
    }
    match route(&request, settings).await {
        Ok(response) => Ok(response),
        Err(error) => error.response(),
    }
}

async fn route(request: &Request, settings: &Rc<Settings>) -> ApiResult {
    authorize(request, settings)?;
    let body = match request.method() {
        "POST" | "PATCH" | "PUT" => request.body(MAX_BODY_BYTES).await?,
        _ => String::new(),
    };
    let path = request
        .path()
        .strip_prefix(routes::PREFIX)
        .unwrap_or_default();
    let (operation, segments) = match routes::find(request.method(), path) {
        Found::Operation(operation, segments) => (operation, segments),
        Found::WrongMethod(allowed) => return Err(ApiError::MethodNotAllowed(allowed)),
        Found::Nothing => return Err(ApiError::NotFound("There is no such resource.".to_owned())),
    };
    let first = segments.first().copied().unwrap_or_default();
    let second = segments.get(1).copied().unwrap_or_default();
    let call = Call {
        request,
        body: &body,
        settings,
    };
    match operation {
        Operation::List(kind) => catalog::list(&call, kind).await,
        Operation::Create(kind) => catalog::create(&call, kind).await,
        Operation::Get(kind) => catalog::get(&call, kind, first).await,
        Operation::Change(kind) => catalog::change(&call, kind, first).await,
        Operation::MakeToken => catalog::make_token(&call, first).await,
        Operation::ApplyToken => catalog::apply_token(&call, first).await,
        Operation::TrackingLink => catalog::tracking_link(&call, first).await,
        Operation::PostbackUrl => catalog::postback_url(&call, first).await,
        Operation::ApprovePartner => catalog::approve(&call, first, second, true).await,
        Operation::RefusePartner => catalog::approve(&call, first, second, false).await,
        Operation::Audit => catalog::audit(&call).await,
        Operation::ListConversions => conversions::list(&call).await,
        Operation::GetConversion => conversions::get(&call, first).await,
        Operation::DecideConversion => conversions::decide(&call, first).await,
        Operation::OfferPostbacks => postbacks::of_offer(&call, first).await,
        Operation::UnattributedPostbacks => postbacks::unattributed(&call).await,
        Operation::Trace => postbacks::trace(&call, first).await,
        Operation::TestPostback => postbacks::test(&call).await,
        Operation::Report => report::report(&call).await,
    }
}

/// A request to an operation.
struct Call<'c> {
    request: &'c Request,
    body: &'c str,
    settings: &'c Rc<Settings>,
}

fn authorize(request: &Request, settings: &Settings) -> ApiResult<()> {
    let token = settings.admin_token.as_ref()?;
    let header = request.header("Authorization").unwrap_or_default();
    match header.split_once(' ') {
        Some((scheme, sent))
            if scheme.eq_ignore_ascii_case("bearer") && token.matches(sent.trim()) =>
        {
            Ok(())
        }
        _ => Err(ApiError::Unauthorized),
    }
}
