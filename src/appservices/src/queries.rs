//! What services are asked: whether a user or an alias that nobody knows is to be made, and about the networks that they bridge.
//! [Querying](https://spec.matrix.org/v1.19/application-service-api/#querying),
//! [third-party networks](https://spec.matrix.org/v1.19/application-service-api/#third-party-networks).

use std::collections::BTreeMap;

use auth::appservices::Registration;
use futures::future::join_all;
use http::StatusCode;
use ruma::{RoomAliasId, UserId};
use serde_json::{Map, Value};

use crate::{
    link::{CallError, encoded},
    services::Services,
};

/// Results of one service, at most.
const MAX_RESULTS: usize = 100;
/// Instances of a protocol of one service, at most.
const MAX_INSTANCES: usize = 100;

/// What services say of something unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is there now: a service has made it.
    Yes,
    /// No service knows it.
    No,
    /// A service that may know it did not answer in time.
    Unanswered,
}

/// What is asked about networks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    /// Where in a network.
    Location,
    /// Who in a network.
    User,
}

impl Lookup {
    fn name(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::User => "user",
        }
    }
}

impl Services {
    /// Asks the services in whose namespace a local user id is, one after the other, until one has made the user.
    pub async fn ask_for_user(&self, user_id: &UserId) -> Known {
        let path = format!("/_matrix/app/v1/users/{}", encoded(user_id.as_str()));
        let old = format!("/users/{}", encoded(user_id.as_str()));
        self.ask_in_turn(|service| service.acts_as(user_id), &path, &old).await
    }

    /// Asks the services in whose namespace an alias is, one after the other, until one has made it.
    pub async fn ask_for_alias(&self, alias: &RoomAliasId) -> Known {
        let path = format!("/_matrix/app/v1/rooms/{}", encoded(alias.as_str()));
        let old = format!("/rooms/{}", encoded(alias.as_str()));
        self.ask_in_turn(|service| service.namespaces.aliases.has(alias.as_str()), &path, &old).await
    }

    async fn ask_in_turn(&self, concerns: impl Fn(&Registration) -> bool, path: &str, old: &str) -> Known {
        let mut known = Known::No;
        for service in self.registrations.all().iter().filter(|service| service.url.is_some() && concerns(service)) {
            match self.link.ask(service, path, old, None).await {
                Ok(_) => return Known::Yes,
                Err(CallError::Timeout) => known = Known::Unanswered,
                Err(CallError::Status { status: StatusCode::NOT_FOUND, .. }) => {}
                Err(error) => {
                    tracing::info!(service = %service.id, %error, "an application service does not say what it knows");
                }
            }
        }
        known
    }

    /// What the services say of a protocol, as one; `None` where none of them has it.
    pub(crate) async fn protocol(&self, protocol: &str) -> Option<Value> {
        let path = format!("/_matrix/app/v1/thirdparty/protocol/{}", encoded(protocol));
        let old = format!("/_matrix/app/unstable/thirdparty/protocol/{}", encoded(protocol));
        let having = self.having(Some(protocol));
        let answers = join_all(having.map(|service| self.ask_one(service, &path, &old, None))).await;
        let mut merged: Option<Map<String, Value>> = None;
        for (service, answer) in answers.into_iter().flatten() {
            let Value::Object(mut fields) = answer else { continue };
            let instances = match fields.remove("instances") {
                Some(Value::Array(instances)) => named_instances(service, instances),
                _ => Vec::new(),
            };
            let merged = merged.get_or_insert(fields);
            if let Value::Array(all) = merged.entry("instances").or_insert_with(|| Value::Array(Vec::new())) {
                all.extend(instances);
            }
        }
        merged.map(Value::Object)
    }

    /// What the services say of all their protocols.
    pub(crate) async fn protocols(&self) -> BTreeMap<String, Value> {
        let mut names: Vec<&String> = self.having(None).flat_map(|service| &service.protocols).collect();
        names.sort_unstable();
        names.dedup();
        let found = join_all(names.iter().map(|name| self.protocol(name))).await;
        names.into_iter().zip(found).filter_map(|(name, found)| Some((name.clone(), found?))).collect()
    }

    /// Places or users of networks, by fields that the client gives, or by what they are here. `protocol` is none for the latter.
    pub(crate) async fn look_up(&self, what: Lookup, protocol: Option<&str>, query: &str) -> Vec<Value> {
        let below = protocol.map_or_else(String::new, |protocol| format!("/{}", encoded(protocol)));
        let path = format!("/_matrix/app/v1/thirdparty/{}{below}", what.name());
        let old = format!("/_matrix/app/unstable/thirdparty/{}{below}", what.name());
        let having = self.having(protocol);
        let answers = join_all(having.map(|service| self.ask_one(service, &path, &old, Some(query)))).await;
        let lists = answers.into_iter().flatten().filter_map(|(_, answer)| match answer {
            Value::Array(list) => Some(list.into_iter().filter(Value::is_object).take(MAX_RESULTS)),
            _ => None,
        });
        lists.flatten().collect()
    }

    /// The services that bridge to a protocol, or to any.
    fn having(&self, protocol: Option<&str>) -> impl Iterator<Item = &Registration> {
        let has = move |service: &&Registration| match protocol {
            Some(protocol) => service.protocols.iter().any(|one| one == protocol),
            None => !service.protocols.is_empty(),
        };
        self.registrations.all().iter().map(|service| &**service).filter(|service| service.url.is_some()).filter(has)
    }

    async fn ask_one<'a>(
        &self,
        service: &'a Registration,
        path: &str,
        old: &str,
        query: Option<&str>,
    ) -> Option<(&'a Registration, Value)> {
        match self.link.ask(service, path, old, query).await {
            Ok(body) => Some((service, serde_json::from_slice(&body).ok()?)),
            Err(CallError::Status { status: StatusCode::NOT_FOUND, .. }) => None,
            Err(error) => {
                tracing::info!(service = %service.id, %error, "an application service was asked about its network");
                None
            }
        }
    }
}

/// The instances of a service, each with an id that tells it from those of others: what `/publicRooms` takes as
/// `third_party_instance_id`.
fn named_instances(service: &Registration, instances: Vec<Value>) -> Vec<Value> {
    let named = instances.into_iter().take(MAX_INSTANCES).filter_map(|instance| {
        let Value::Object(mut fields) = instance else { return None };
        let network = fields.get("network_id")?.as_str()?;
        let id = instance_id(&service.id, network);
        fields.insert("instance_id".to_owned(), id.into());
        Some(Value::Object(fields))
    });
    named.collect()
}

/// The id of a network of a service.
pub(crate) fn instance_id(service: &str, network: &str) -> String {
    format!("{service}|{network}")
}
