//! The settings of the deployment: secrets, variables and bindings, read once for each isolate.

use std::cell::RefCell;
use std::rc::Rc;

use chrono::TimeDelta;
use thiserror::Error;
use wasm_bindgen::JsCast;
use worker::Env;

use super::kv::KvNamespace;
use super::log;
use super::object_client::ObjectNamespace;
use crate::tracking::offer_url::PlainUrl;
use crate::tracking::secret::Secret;
use crate::tracking::transaction_id::Keyring;

/// A setting that is not there or cannot be used. Shows its name, never its value.
#[derive(Clone, Debug, Error)]
#[error("The setting {name} {problem}.")]
pub(super) struct Misconfigured {
    name: &'static str,
    problem: String,
}

/// The settings; each says for itself if it is missing, so that a route fails only over what it needs.
pub(super) struct Settings {
    /// `TRANSACTION_KEYS`: the keys that sign transaction IDs.
    pub(super) keyring: Result<Keyring, Misconfigured>,
    /// `ADMIN_TOKEN`: what opens the management API.
    pub(super) admin_token: Result<Secret, Misconfigured>,
    /// `FALLBACK_URL`: where visitors go whom an offer does not take, and who has no fallback of its own.
    pub(super) fallback_url: Result<Option<PlainUrl>, Misconfigured>,
    /// `DOCUMENT_FRESH_SECONDS`: how long a copy of a document is served before it is read again.
    pub(super) document_fresh: TimeDelta,
    /// `DOCUMENT_MAX_AGE_SECONDS`: how old a copy of a document may be that is served while KV is out of reach.
    pub(super) document_max_age: TimeDelta,
    /// `FIRST_SESSION_SEARCH_SECONDS`: how long after a postback a click's page is looked for again that KV did not
    /// show. KV remembers a miss for half a minute, and shows a write after a minute or more.
    pub(super) first_session_search: TimeDelta,
    /// `KV`: documents and click pages.
    pub(super) kv: Result<KvNamespace, Misconfigured>,
    /// `CATALOG`: the catalog.
    pub(super) catalogs: Result<ObjectNamespace, Misconfigured>,
    /// `LEDGER`: the ledgers, one for each offer.
    pub(super) ledgers: Result<ObjectNamespace, Misconfigured>,
    /// `REGISTRY`: the registries of unique IDs.
    pub(super) registries: Result<ObjectNamespace, Misconfigured>,
}

thread_local! {
    /// A change of a setting is a new deployment, and a new deployment is a new isolate.
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

impl Settings {
    pub(super) fn of(env: &Env) -> Rc<Self> {
        SETTINGS.with_borrow_mut(|settings| {
            Rc::clone(settings.get_or_insert_with(|| Rc::new(Self::read(env))))
        })
    }

    fn read(env: &Env) -> Self {
        Self {
            keyring: secret(env, "TRANSACTION_KEYS").and_then(|keys| {
                Keyring::parse(&keys).map_err(|error| Misconfigured {
                    name: "TRANSACTION_KEYS",
                    problem: error.to_string(),
                })
            }),
            admin_token: secret(env, "ADMIN_TOKEN").and_then(|token| {
                Secret::try_from(token).map_err(|error| Misconfigured {
                    name: "ADMIN_TOKEN",
                    problem: error.to_owned(),
                })
            }),
            fallback_url: match env.var("FALLBACK_URL") {
                Ok(url) if !url.to_string().is_empty() => PlainUrl::try_from(url.to_string())
                    .map(Some)
                    .map_err(|error| Misconfigured {
                        name: "FALLBACK_URL",
                        problem: error.to_string(),
                    }),
                _ => Ok(None),
            },
            document_fresh: seconds(env, "DOCUMENT_FRESH_SECONDS", 30),
            document_max_age: seconds(env, "DOCUMENT_MAX_AGE_SECONDS", 86_400),
            first_session_search: seconds(env, "FIRST_SESSION_SEARCH_SECONDS", 75),
            kv: binding(env, "KV"),
            catalogs: binding(env, "CATALOG"),
            ledgers: binding(env, "LEDGER"),
            registries: binding(env, "REGISTRY"),
        }
    }

    /// The first setting that is missing or unusable.
    pub(super) fn fault(&self) -> Option<&Misconfigured> {
        fn fault<T>(setting: &Result<T, Misconfigured>) -> Option<&Misconfigured> {
            setting.as_ref().err()
        }
        fault(&self.keyring)
            .or(fault(&self.admin_token))
            .or(fault(&self.fallback_url))
            .or(fault(&self.kv))
            .or(fault(&self.catalogs))
            .or(fault(&self.ledgers))
            .or(fault(&self.registries))
    }

    /// The network's fallback, as far as there is a usable one.
    pub(super) fn network_fallback(&self) -> Option<&PlainUrl> {
        match &self.fallback_url {
            Ok(url) => url.as_ref(),
            Err(error) => {
                log::error("misconfigured", error);
                None
            }
        }
    }
}

/// A span of time of up to a year; what is no such number is logged, and the default holds.
fn seconds(env: &Env, name: &'static str, default: u32) -> TimeDelta {
    let seconds = match env.var(name) {
        Err(_) => default,
        Ok(value) => match value.to_string().parse() {
            Ok(seconds) if seconds <= 365 * 86_400 => seconds,
            _ => {
                let problem = "is not a number of seconds up to a year".to_owned();
                log::error("misconfigured", &Misconfigured { name, problem });
                default
            }
        },
    };
    TimeDelta::seconds(seconds.into())
}

fn secret(env: &Env, name: &'static str) -> Result<String, Misconfigured> {
    env.secret(name)
        .map(|secret| secret.to_string())
        .map_err(|_| missing(name))
}

fn binding<T: JsCast>(env: &Env, name: &'static str) -> Result<T, Misconfigured> {
    match js_sys::Reflect::get(env, &name.into()) {
        Ok(binding) if binding.is_object() => Ok(binding.unchecked_into()),
        _ => Err(missing(name)),
    }
}

fn missing(name: &'static str) -> Misconfigured {
    Misconfigured {
        name,
        problem: "is missing".to_owned(),
    }
}
