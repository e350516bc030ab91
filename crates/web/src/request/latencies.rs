//! Response times per route and status class.

use std::time::Duration;

use http::StatusCode;
use model::meter::{Histogram, HistogramSnapshot, LATENCIES};

macro_rules! routes {
    ($($variant:ident => $name:literal),+ $(,)?) => {
        /// The kind of a request, as a metrics label. A small fixed set: clients cannot add labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Route { $($variant),+ }

        impl Route {
            const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

routes! {
    Token => "token",
    Authorize => "authorize",
    UserInfo => "userinfo",
    Revocation => "revocation",
    Introspection => "introspection",
    EndSession => "endsession",
    Discovery => "discovery",
    Page => "page",
    Profile => "profile",
    Manage => "manage",
    Api => "api",
    Health => "health",
    Other => "other",
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let below = |folder: &str| {
            let (start, rest) = path.split_at_checked(folder.len()).unwrap_or_default();
            start.eq_ignore_ascii_case(folder) && (rest.is_empty() || rest.starts_with('/')) && !start.is_empty()
        };
        match path {
            "/id/connect/token" => Self::Token,
            "/id/connect/authorize" => Self::Authorize,
            "/id/connect/userinfo" => Self::UserInfo,
            "/id/connect/revocation" | "/id/tokens/leaked" => Self::Revocation,
            "/id/connect/introspect" => Self::Introspection,
            "/id/connect/endsession" => Self::EndSession,
            "/healthz" | "/readyz" => Self::Health,
            "/" | "/id" | "/id/" => Self::Page,
            _ if below("/api") => Self::Api,
            _ if below("/id/account") => Self::Page,
            _ if below("/profile") => Self::Profile,
            _ if below("/manage") => Self::Manage,
            _ if below("/tools") || below("/sys") || below("/.well-known") || below("/id/.well-known") => {
                Self::Discovery
            }
            _ => Self::Other,
        }
    }
}

/// Status classes by first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Response times per route and status class.
pub(crate) struct Latencies(Vec<[Histogram; CLASSES.len()]>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Route::ALL.iter().map(|_| std::array::from_fn(|_| Histogram::new(LATENCIES))).collect())
    }
}

impl Latencies {
    pub(crate) fn add(&self, route: Route, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0[route as usize][class].add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Route name, status class, and response times.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, HistogramSnapshot)> {
        let routes = Route::ALL.iter().zip(&self.0);
        routes.flat_map(|(route, histograms)| {
            CLASSES.into_iter().zip(histograms).map(|(class, histogram)| (route.name(), class, histogram.read()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_path_and_strangers_invent_none() {
        for (path, route) in [
            ("/id/connect/token", Route::Token),
            ("/id/account/login", Route::Page),
            ("/", Route::Page),
            ("/api", Route::Api),
            ("/API/domain/OData/Crm_Customers", Route::Api),
            ("/apis", Route::Other),
            ("/profile/me", Route::Profile),
            ("/.well-known/openid-configuration", Route::Discovery),
            ("/id/.well-known/openid-configuration/jwks", Route::Discovery),
            ("/readyz", Route::Health),
            ("/id/connect/tokens", Route::Other),
            ("", Route::Other),
            ("/\u{e9}", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
