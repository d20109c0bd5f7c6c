use std::{future::Future as _, pin::pin, task::Context};

use super::*;

/// The client goes away while its rooms are being left.
#[tokio::test]
async fn closing_an_account_goes_on_without_its_client() {
    let server = Server::new();
    let (token, _) = server.user("ann").await;
    let slow = Arc::new(tokio::sync::Notify::new());
    *server.hook.slow.lock() = Some(Arc::clone(&slow));
    let body = json!({ "auth": password_login("ann", PASSWORD) });
    {
        let mut request = pin!(server.post("/_matrix/client/v3/account/deactivate", Some(&token), body));
        let mut context = Context::from_waker(std::task::Waker::noop());
        while server.hook.called.lock().is_empty() {
            assert!(request.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
        }
    }
    slow.notify_one();
    let num = server.auth.users.accounts.find("ann").await.unwrap().unwrap().num;
    let closed = async {
        while !server.auth.users.accounts.get(num).await.unwrap().unwrap().deactivated {
            tokio::task::yield_now().await;
        }
    };
    // Only so that a failure ends.
    tokio::time::timeout(std::time::Duration::from_secs(20), closed).await.expect("the account stays open");
    assert!(!server.works(&token).await);
}
