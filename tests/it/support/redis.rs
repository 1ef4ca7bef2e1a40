//! The redis-server of a test, as the unit tests of `src/store` start it.

#[path = "../../../src/store/tests/server.rs"]
mod server;

pub use self::server::RedisServer;
