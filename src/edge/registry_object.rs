//! The Durable Object that keeps the registry of the unique IDs of one hash.

use std::cell::RefCell;

use wasm_bindgen::JsValue;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::object::{self, ObjectSql, reply};
use super::runtime;
use crate::registry;
use crate::registry::message::{self, Message};
use crate::sql::SqlError;

/// The object; the registry is opened by the first message, because a constructor that failed would fail for ever.
#[durable_object(fetch)]
pub struct Registry {
    object: JsValue,
    opened: RefCell<Option<registry::Registry<ObjectSql>>>,
}

impl DurableObject for Registry {
    fn new(state: State, _env: Env) -> Self {
        Self {
            object: state._inner().into(),
            opened: RefCell::new(None),
        }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        object::answer(request, |message| self.handle(message)).await
    }
}

impl Registry {
    fn handle(
        &self,
        Message { unique_id, request }: Message,
    ) -> std::result::Result<String, SqlError> {
        let mut opened = self.opened.borrow_mut();
        let registry = match &mut *opened {
            Some(registry) => registry,
            closed => closed.insert(registry::Registry::open(ObjectSql::of(&self.object)?)?),
        };
        let now = runtime::now();
        match request {
            message::Request::Claim(offer) => reply(registry.claim(&unique_id, offer, now)),
            message::Request::Transfer { from, to } => {
                reply(registry.transfer(&unique_id, from, to, now))
            }
            message::Request::Confirm(holder) => reply(registry.confirm(&unique_id, holder)),
            message::Request::Peek => reply(registry.is_confirmed(&unique_id)),
        }
    }
}
