//! Who used the legacy schemes, and how much.

use model::ApplicationId;
use model::legacy::{LegacyScheme, LegacyUse};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, server, somebody, user_id};

crate::on_both! {
    uses_add_up_whichever_node_counted_them
}

const fn app(number: u128) -> ApplicationId {
    ApplicationId(Uuid::from_u128(number))
}

async fn uses_add_up_whichever_node_counted_them(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    somebody(store, 1, "alice").await;
    somebody(store, 2, "bob").await;
    let seen = |user, uses, first_at, last_at| LegacyUse {
        application: app(9),
        scheme: LegacyScheme::Basic,
        user: user_id(user),
        uses,
        first_at,
        last_at,
    };
    for one in [seen(1, 3, LATER, LATER), seen(1, 4, NOW, MUCH_LATER), seen(1, 5, LATER, LATER), seen(2, 1, NOW, NOW)] {
        done(store, store.add_legacy_uses(&one)).await;
    }
    let login = LegacyUse { scheme: LegacyScheme::ErpLogin, ..seen(2, 7, LATER, LATER) };
    done(store, store.add_legacy_uses(&login)).await;

    let totals = store.legacy_totals().await.expect("no fault");
    let found: Vec<_> = totals
        .iter()
        .map(|one| (one.application, one.scheme, one.uses, one.users, one.first_at, one.last_at))
        .collect();
    let basic = (app(9), LegacyScheme::Basic, 13, 2, NOW, MUCH_LATER);
    assert_eq!(found, [basic, (app(9), LegacyScheme::ErpLogin, 7, 1, LATER, LATER)]);

    let uses = store.legacy_uses(10).await.expect("no fault");
    let found: Vec<_> = uses.iter().map(|(one, login)| (*one, login.as_str())).collect();
    assert_eq!(found, [(seen(1, 12, NOW, MUCH_LATER), "alice"), (login, "bob"), (seen(2, 1, NOW, NOW), "bob")]);
    assert_eq!(store.legacy_uses(2).await.expect("no fault").len(), 2);
    assert!(server.there.legacy_totals().await.expect("no fault").is_empty(), "not of that instance");
    assert!(server.there.legacy_uses(10).await.expect("no fault").is_empty());
}
