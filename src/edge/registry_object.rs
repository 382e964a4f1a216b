//! The Durable Object that keeps the registry of the unique IDs of one hash.

use std::cell::RefCell;

use wasm_bindgen::prelude::wasm_bindgen;

use super::object::{self, ObjectSql, ObjectState, reply};
use super::runtime;
use crate::registry;
use crate::registry::message::{Message, Request};
use crate::sql::SqlError;

/// The object; the registry is opened by the first message, because a constructor that failed would fail for ever.
#[wasm_bindgen]
pub struct Registry {
    state: ObjectState,
    opened: RefCell<Option<registry::Registry<ObjectSql>>>,
}

#[wasm_bindgen]
impl Registry {
    /// An object that has just woken.
    #[wasm_bindgen(constructor)]
    pub fn new(state: ObjectState) -> Self {
        Self {
            state,
            opened: RefCell::new(None),
        }
    }

    /// Answers a [`Message`], both in JSON; with nothing if it fails.
    pub fn handle(&self, message: &str) -> Option<String> {
        object::answer(message, |message| self.answer(message))
    }
}

impl Registry {
    fn answer(&self, Message { unique_id, request }: Message) -> Result<String, SqlError> {
        let mut opened = self.opened.borrow_mut();
        let registry = match &mut *opened {
            Some(registry) => registry,
            closed => closed.insert(registry::Registry::open(ObjectSql::of(&self.state)?)?),
        };
        let now = runtime::now();
        match request {
            Request::Claim(offer) => reply(registry.claim(&unique_id, offer, now)),
            Request::Transfer { from, to } => reply(registry.transfer(&unique_id, from, to, now)),
            Request::Confirm(holder) => reply(registry.confirm(&unique_id, holder)),
            Request::Peek => reply(registry.is_confirmed(&unique_id)),
        }
    }
}
