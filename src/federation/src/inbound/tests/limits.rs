use std::sync::Arc;

use http::StatusCode;
use http_kit::{Clock, LimitConfig, RateConfig, RateLimits};
use ruma::directory::Filter;

use crate::testing::World;

#[tokio::test]
async fn a_server_that_asks_too_much_is_told_to_wait_and_others_are_not() {
    let world = World::new(&["one", "two", "three"]);
    let one = world.server("one");
    let config = RateConfig { requests: LimitConfig::new(0.001, 3), ..RateConfig::default() };
    let limits = RateLimits::new(&config, &Clock::new(|| 1_700_000_000_000));
    one.federation().limits.set(Arc::new(limits)).unwrap();
    let ask = async |server: &str| {
        let federation = world.server(server).federation();
        federation.query_public_rooms(&one.name, &Filter::default(), None, None).await
    };
    for _ in 0..3 {
        ask("two").await.unwrap();
    }
    assert!(ask("two").await.unwrap_err().is_status(StatusCode::TOO_MANY_REQUESTS));
    assert!(ask("three").await.is_ok());
}
