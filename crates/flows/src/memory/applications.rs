//! The Trusted Applications of an instance, as memory holds them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use model::application::ClientRefusal;
use model::{ApplicationId, AuthenticatedClient, Timestamp, TrustedApplication};
use oauth::client::{ClientCredentials, ClientId};

/// An immutable snapshot. A changed application makes the next snapshot, by copying pointers.
#[derive(Clone, Default)]
pub struct ApplicationRegister {
    by_id: HashMap<ApplicationId, Arc<TrustedApplication>>,
    by_uri: HashSet<ByUri>,
    /// Origins of enabled applications, with the number of applications of each.
    origins: HashMap<Arc<str>, u32>,
}

/// An application, found by its `client_id`.
#[derive(Clone)]
struct ByUri(Arc<TrustedApplication>);

impl Borrow<ClientId> for ByUri {
    fn borrow(&self) -> &ClientId {
        &self.0.uri
    }
}

impl PartialEq for ByUri {
    fn eq(&self, other: &Self) -> bool {
        self.0.uri == other.0.uri
    }
}

impl Eq for ByUri {}

impl Hash for ByUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uri.hash(state);
    }
}

impl ApplicationRegister {
    pub(crate) fn new(applications: Vec<TrustedApplication>) -> Self {
        let mut register = Self::default();
        for application in applications {
            register.insert(application);
        }
        register
    }

    /// The next snapshot, with the application as it is now, or without it if it was deleted.
    pub(crate) fn with(&self, id: ApplicationId, now: Option<TrustedApplication>) -> Self {
        let mut next = self.clone();
        next.remove(id);
        if let Some(application) = now {
            next.insert(application);
        }
        next
    }

    fn insert(&mut self, application: TrustedApplication) {
        let application = Arc::new(application);
        if application.enabled {
            for origin in application.origins() {
                *self.origins.entry(origin.into()).or_default() += 1;
            }
        }
        self.by_uri.insert(ByUri(Arc::clone(&application)));
        self.by_id.insert(application.id, application);
    }

    fn remove(&mut self, id: ApplicationId) {
        let Some(application) = self.by_id.remove(&id) else { return };
        self.by_uri.remove(&application.uri);
        if !application.enabled {
            return;
        }
        for origin in application.origins() {
            if let Some(count) = self.origins.get_mut(origin.as_str()) {
                *count -= 1;
                if *count == 0 {
                    self.origins.remove(origin.as_str());
                }
            }
        }
    }

    pub fn by_uri(&self, uri: &ClientId) -> Option<&Arc<TrustedApplication>> {
        self.by_uri.get(uri).map(|found| &found.0)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<TrustedApplication>> {
        self.by_id.values()
    }

    pub fn by_id(&self, id: ApplicationId) -> Option<&Arc<TrustedApplication>> {
        self.by_id.get(&id)
    }

    /// Origins of enabled applications, in order, with the number of applications of each.
    pub(crate) fn counted_origins(&self) -> BTreeMap<&str, u32> {
        self.origins.iter().map(|(origin, count)| (&**origin, *count)).collect()
    }

    /// Client authentication (RFC 6749 §2.3).
    pub(crate) fn authenticate(
        &self,
        credentials: &ClientCredentials,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'_>, ClientRefusal> {
        self.by_uri(credentials.client_id()).ok_or(ClientRefusal::Unknown)?.authenticate(credentials, now)
    }

    /// Whether pages of this origin may read the APIs' answers. Only origins of enabled applications may.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.origins.contains_key(origin)
    }
}
