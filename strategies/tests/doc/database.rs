// A database for a test, or for an example of the documentation.

use mongodb::bson::oid::ObjectId;
use phasegate_harness::wire::{Changes, Server, Storage, client_of, uri_of};
use phasegate_strategies::store::Store;

/// Starts a server that ends with the returned value.
pub async fn start(name: &'static str) -> (Server, Store) {
    let folder = std::env::temp_dir().join(format!("phasegate-strategies-{}", std::process::id()));
    let start = move || Server::start(&folder, name, Storage::Memory, Changes::Streamed, &[]).unwrap();
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let client = client_of(&uri_of(server.address())).await.unwrap();
    (server, Store::new(client.database(&format!("pg-{}", ObjectId::new().to_hex()))))
}
