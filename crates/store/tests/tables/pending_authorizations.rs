//! Authorization requests of users who are signing in.

use std::sync::Arc;

use model::SessionId;
use model::pending_authorization::{PendingAuthorization, PendingId, RequestSignIn};
use model::session::FormCookie;
use oauth::authorize::AuthorizationRequest;
use oauth::params::Params;
use oauth::secret::Presented;
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, server, somebody};

crate::on_both! {
    a_request_reads_back_and_takes_the_sign_in_that_met_it
    requests_that_have_expired_are_swept
    requests_of_an_erased_user_go_too
}

const ID: Uuid = Uuid::from_u128(7);

fn pending() -> PendingAuthorization {
    let query = b"client_id=app&redirect_uri=https://a/cb&response_type=code&state=%C3%A9%22&scope=openid+read";
    let params = Params::parse(query).expect("well-formed");
    PendingAuthorization {
        id: PendingId::Stored(ID),
        browser: Presented::<FormCookie>::new("a browser").digest(),
        request: Arc::new(AuthorizationRequest::parse(&params).expect("a request")),
        sign_in: None,
        expires_at: LATER,
    }
}

async fn a_request_reads_back_and_takes_the_sign_in_that_met_it(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    let asked = pending();
    done(&server.here, server.here.put_pending_authorization(ID, alice.id, &asked)).await;
    assert!(server.there.pending_authorization(ID).await.expect("no fault").is_none(), "of another instance");
    let read = server.here.pending_authorization(ID).await.expect("no fault").expect("it is there");
    assert_eq!((&read.id, &read.request, read.sign_in), (&asked.id, &asked.request, None));
    assert_eq!((read.browser, read.expires_at), (asked.browser, asked.expires_at));

    let met = RequestSignIn { session: SessionId(Uuid::from_u128(9)), at: NOW };
    let met = PendingAuthorization { sign_in: Some(met), ..read };
    done(&server.here, server.here.put_pending_authorization(ID, alice.id, &met)).await;
    let read = server.here.pending_authorization(ID).await.expect("no fault").expect("it is there");
    assert_eq!((read.request, read.sign_in), (asked.request, met.sign_in));
}

async fn requests_that_have_expired_are_swept(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    let late = PendingAuthorization { expires_at: MUCH_LATER, ..pending() };
    done(&server.here, server.here.put_pending_authorization(ID, alice.id, &pending())).await;
    done(&server.here, server.here.put_pending_authorization(Uuid::from_u128(8), alice.id, &late)).await;
    done(&server.there, server.there.sweep_pending_authorizations(MUCH_LATER)).await;
    assert!(server.here.pending_authorization(ID).await.expect("no fault").is_some(), "of another instance");
    done(&server.here, server.here.sweep_pending_authorizations(MUCH_LATER)).await;
    assert!(server.here.pending_authorization(ID).await.expect("no fault").is_none());
    assert!(server.here.pending_authorization(Uuid::from_u128(8)).await.expect("no fault").is_some());
}

async fn requests_of_an_erased_user_go_too(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    done(&server.here, server.here.put_pending_authorization(ID, alice.id, &pending())).await;
    done(&server.here, server.here.put_pending_authorization(Uuid::from_u128(8), bob.id, &pending())).await;
    for statement in server.here.erase_user(&alice, NOW) {
        done(&server.here, statement).await;
    }
    assert!(server.here.pending_authorization(ID).await.expect("no fault").is_none());
    assert!(server.here.pending_authorization(Uuid::from_u128(8)).await.expect("no fault").is_some());
}
