//! The routes.

use crate::catalog::kind::Kind;

/// What all paths begin with.
pub const PREFIX: &str = "/api/v1";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the summaries of the routes say it")]
pub enum Operation {
    List(Kind),
    Create(Kind),
    Get(Kind),
    Change(Kind),
    MakeToken,
    ApplyToken,
    TrackingLink,
    PostbackUrl,
    ApprovePartner,
    RefusePartner,
    OfferPostbacks,
    UnattributedPostbacks,
    ListConversions,
    GetConversion,
    DecideConversion,
    Trace,
    TestPostback,
    Report,
    Audit,
}

/// A route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind [`PREFIX`]; a segment in braces stands for any one.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// The same for people.
    pub summary: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    operation: Operation,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        operation,
        summary,
    }
}

/// All routes.
pub const ROUTES: [Route; 27] = [
    route(
        "GET",
        "/advertisers",
        Operation::List(Kind::Advertiser),
        "List advertisers",
    ),
    route(
        "POST",
        "/advertisers",
        Operation::Create(Kind::Advertiser),
        "Create an advertiser",
    ),
    route(
        "GET",
        "/advertisers/{id}",
        Operation::Get(Kind::Advertiser),
        "Read an advertiser",
    ),
    route(
        "PATCH",
        "/advertisers/{id}",
        Operation::Change(Kind::Advertiser),
        "Change an advertiser",
    ),
    route(
        "POST",
        "/advertisers/{id}/token",
        Operation::MakeToken,
        "Make a new token, which is not enforced yet",
    ),
    route(
        "POST",
        "/advertisers/{id}/token/apply",
        Operation::ApplyToken,
        "Enforce the token that was made last",
    ),
    route(
        "GET",
        "/partners",
        Operation::List(Kind::Partner),
        "List partners",
    ),
    route(
        "POST",
        "/partners",
        Operation::Create(Kind::Partner),
        "Create a partner",
    ),
    route(
        "GET",
        "/partners/{id}",
        Operation::Get(Kind::Partner),
        "Read a partner",
    ),
    route(
        "PATCH",
        "/partners/{id}",
        Operation::Change(Kind::Partner),
        "Change a partner",
    ),
    route(
        "GET",
        "/offers",
        Operation::List(Kind::Offer),
        "List offers",
    ),
    route(
        "POST",
        "/offers",
        Operation::Create(Kind::Offer),
        "Create an offer",
    ),
    route(
        "GET",
        "/offers/{id}",
        Operation::Get(Kind::Offer),
        "Read an offer",
    ),
    route(
        "PATCH",
        "/offers/{id}",
        Operation::Change(Kind::Offer),
        "Change an offer",
    ),
    route(
        "GET",
        "/offers/{id}/tracking-link",
        Operation::TrackingLink,
        "Get the link to hand to a partner",
    ),
    route(
        "GET",
        "/offers/{id}/postback-url",
        Operation::PostbackUrl,
        "Get the URL to hand to the advertiser",
    ),
    route(
        "PUT",
        "/offers/{id}/partners/{partner_id}",
        Operation::ApprovePartner,
        "Let a partner run a private offer",
    ),
    route(
        "DELETE",
        "/offers/{id}/partners/{partner_id}",
        Operation::RefusePartner,
        "Take a partner off an offer's list",
    ),
    route(
        "GET",
        "/offers/{id}/postbacks",
        Operation::OfferPostbacks,
        "Read the raw log of an offer's postbacks",
    ),
    route(
        "GET",
        "/postbacks",
        Operation::UnattributedPostbacks,
        "Read the log of postbacks that name no offer",
    ),
    route(
        "GET",
        "/conversions",
        Operation::ListConversions,
        "List conversions and refusals, newest first",
    ),
    route(
        "GET",
        "/conversions/{id}",
        Operation::GetConversion,
        "Read a conversion or a refusal",
    ),
    route(
        "PATCH",
        "/conversions/{id}",
        Operation::DecideConversion,
        "Approve or reject a pending conversion",
    ),
    route(
        "GET",
        "/transactions/{transaction_id}",
        Operation::Trace,
        "Trace a transaction: its click, its postbacks, and why",
    ),
    route(
        "POST",
        "/test-postback",
        Operation::TestPostback,
        "Check a postback without recording anything",
    ),
    route(
        "GET",
        "/reports",
        Operation::Report,
        "Report clicks, conversions and money",
    ),
    route(
        "GET",
        "/audit",
        Operation::Audit,
        "Read the audit trail, newest first",
    ),
];

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// To an operation, with the segments that stand for those in braces.
    Operation(Operation, Vec<&'p str>),
    /// To a path that takes only these methods.
    WrongMethod(String),
    /// Nowhere.
    Nothing,
}

/// Finds the route of a path behind [`PREFIX`].
pub fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    let mut allowed = Vec::new();
    for route in &ROUTES {
        if let Some(segments) = segments(route.path, path) {
            if route.method == method {
                return Found::Operation(route.operation, segments);
            }
            allowed.push(route.method);
        }
    }
    if allowed.is_empty() {
        Found::Nothing
    } else {
        Found::WrongMethod(allowed.join(", "))
    }
}

/// The segments of `path` that stand for those in braces, if it is of this form.
fn segments<'p>(form: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for expected in form.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            found.push(segment);
        } else if segment != expected {
            return None;
        }
    }
    segments.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_routes() {
        let check = |method: &str, path: &str, expected: Found<'_>| {
            assert_eq!(find(method, path), expected);
        };
        check(
            "GET",
            "/offers",
            Found::Operation(Operation::List(Kind::Offer), vec![]),
        );
        check(
            "PATCH",
            "/offers/7",
            Found::Operation(Operation::Change(Kind::Offer), vec!["7"]),
        );
        check(
            "PUT",
            "/offers/7/partners/2",
            Found::Operation(Operation::ApprovePartner, vec!["7", "2"]),
        );
        check(
            "DELETE",
            "/offers/7",
            Found::WrongMethod("GET, PATCH".to_owned()),
        );
        check(
            "GET",
            "/offers/",
            Found::Operation(Operation::Get(Kind::Offer), vec![""]),
        );
        check("GET", "/offers/7/", Found::Nothing);
        check("GET", "/", Found::Nothing);
        check("GET", "", Found::Nothing);
    }
}
