//! The tests' wire server behaves as the driver expects and as a real server does, and its proxy fails as configured.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, IndexOptions, ReturnDocument};
use mongodb::{Client, Collection, IndexModel};
use tokio::io::AsyncReadExt;

use crate::harness::{Changes, DEADLINE, Database, Storage, TcpMode, TcpProxy, change_stream};

/// The error code for a second document with the same unique key.
const DUPLICATE_KEY: i32 = 11000;
/// The error code of a server without change streams.
const NO_REPLICA_SET: i32 = 40573;
/// FerretDB's error code for a missing feature.
const NOT_IMPLEMENTED: i32 = 238;
/// The error code for a resume token that is too old.
const HISTORY_LOST: i32 = 286;

/// The code of a server's error.
fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        _ => None,
    }
}

async fn make_unique(gateways: &Collection<Document>) {
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder().keys(doc! { "gatewayId": 1 }).options(unique).build();
    gateways.create_index(index).await.unwrap();
}

async fn next(stream: &mut ChangeStream<ChangeStreamEvent<Document>>) -> ChangeStreamEvent<Document> {
    let waited = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(event) = stream.next_if_any().await.unwrap() {
                return event;
            }
        }
    });
    waited.await.expect("a change is seen")
}

/// The operation and the document's state in an event of a change stream.
fn shown(event: &ChangeStreamEvent<Document>) -> (&OperationType, Option<&str>) {
    (&event.operation_type, event.full_document.as_ref().map(|document| document.get_str("state").unwrap()))
}

#[tokio::test]
async fn of_two_documents_with_a_unique_key_the_second_is_refused() {
    let database = Database::new("unique").await;
    let gateways = database.collection("ApiGateway");
    make_unique(&gateways).await;
    // Every start of an operator does this.
    make_unique(&gateways).await;

    gateways.insert_one(doc! { "gatewayId": "shop" }).await.unwrap();
    let refused = gateways.insert_one(doc! { "gatewayId": "shop" }).await.unwrap_err();

    assert_eq!(code(&refused), Some(DUPLICATE_KEY), "{refused}");
    gateways.insert_one(doc! { "gatewayId": "till" }).await.unwrap();
    assert_eq!(gateways.count_documents(doc! {}).await.unwrap(), 2);
}

#[tokio::test]
async fn a_unique_index_on_documents_that_are_not_unique_is_refused() {
    let database = Database::new("duplicates").await;
    let gateways = database.collection("ApiGateway");
    gateways.insert_many([doc! { "gatewayId": "shop" }, doc! { "gatewayId": "shop" }]).await.unwrap();

    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder().keys(doc! { "gatewayId": 1 }).options(unique).build();
    let refused = gateways.create_index(index).await.unwrap_err();

    assert_eq!(code(&refused), Some(DUPLICATE_KEY), "{refused}");
}

#[tokio::test]
async fn one_update_reaches_the_documents_of_its_filter_and_no_others() {
    let database = Database::new("many").await;
    let environments = database.collection("Environment");
    let environment = |gateway: &str, name: &str, seq: Option<i64>| {
        let mut document = doc! { "gatewayId": gateway, "name": name, "state": "Inactive", "console": "keeps this" };
        if let Some(seq) = seq {
            document.extend(doc! { "uid": "u-1", "seq": seq });
        }
        document
    };
    environments
        .insert_many([
            environment("shop", "new", None),
            environment("shop", "older", Some(3)),
            environment("shop", "newer", Some(9)),
            environment("till", "other", None),
        ])
        .await
        .unwrap();

    let fence = doc! {
        "gatewayId": "shop",
        "state": "Inactive",
        "$or": [{ "uid": { "$exists": false } }, { "uid": { "$ne": "u-1" } }, { "seq": { "$lte": 5_i64 } }],
    };
    let set = doc! { "$set": { "state": "Active", "uid": "u-1", "seq": 5_i64 } };
    let updated = environments.update_many(fence.clone(), set.clone()).await.unwrap();
    assert_eq!((updated.matched_count, updated.modified_count), (2, 2));

    let again = environments.update_many(fence, set).await.unwrap();
    assert_eq!((again.matched_count, again.modified_count), (0, 0));
    for (name, state, seq) in [("new", "Active", Some(5)), ("older", "Active", Some(5)), ("newer", "Inactive", Some(9))]
    {
        let found = environments.find_one(doc! { "gatewayId": "shop", "name": name }).await.unwrap().unwrap();
        assert_eq!((found.get_str("state").unwrap(), found.get_i64("seq").ok()), (state, seq), "{name}");
        assert_eq!(found.get_str("console").unwrap(), "keeps this", "{name}");
    }
}

#[tokio::test]
async fn an_upsert_inserts_once_and_then_updates() {
    let database = Database::new("upsert").await;
    let gateways = database.collection("ApiGateway");
    make_unique(&gateways).await;
    let filter = doc! { "gatewayId": "shop" };
    let update = |seq: i64| doc! { "$set": { "seq": seq }, "$setOnInsert": { "state": "Running" } };

    let first = gateways.update_one(filter.clone(), update(0)).upsert(true).await.unwrap();
    let second = gateways.update_one(filter.clone(), update(1)).upsert(true).await.unwrap();

    assert!(first.upserted_id.is_some());
    assert_eq!((second.upserted_id, second.modified_count), (None, 1));
    let found = gateways.find_one(filter.clone()).await.unwrap().unwrap();
    assert_eq!((found.get_str("state").unwrap(), found.get_i64("seq").unwrap()), ("Running", 1));

    // An upsert whose fence does not match must not insert a second document.
    let fenced = doc! { "gatewayId": "shop", "seq": { "$lt": 1_i64 } };
    let refused = gateways.update_one(fenced, update(1)).upsert(true).await.unwrap_err();
    assert_eq!(code(&refused), Some(DUPLICATE_KEY), "{refused}");
}

#[tokio::test]
async fn find_one_and_update_returns_the_document_and_nothing_where_the_fence_holds() {
    let database = Database::new("modify").await;
    let gateways = database.collection("ApiGateway");
    let old =
        doc! { "gatewayId": "shop", "uid": "u-1", "seq": 4_i64, "phase": "Starting", "error": { "reason": "Old" } };
    gateways.insert_one(old).await.unwrap();
    let fence = doc! { "gatewayId": "shop", "uid": "u-1", "seq": { "$lt": 5_i64 } };
    let update = doc! { "$set": { "phase": "Started", "seq": 5_i64 }, "$unset": { "error": "" } };

    let modify = || gateways.find_one_and_update(fence.clone(), update.clone()).return_document(ReturnDocument::After);
    let found = modify().await.unwrap().unwrap();

    assert_eq!((found.get_str("phase").unwrap(), found.get_i64("seq").unwrap()), ("Started", 5));
    assert!(!found.contains_key("error"), "{found}");
    assert_eq!(modify().await.unwrap(), None);
}

/// An update that requests a projection of the document is refused before it changes the document.
#[tokio::test]
async fn a_projection_of_what_is_changed_is_refused_as_ferretdb_does() {
    let database = Database::local("ferret", Storage::Memory, Changes::Polled).await;
    let gateways = database.collection("ApiGateway");
    gateways.insert_one(doc! { "gatewayId": "shop", "state": "Running" }).await.unwrap();
    let shop = || doc! { "gatewayId": "shop" };
    let stop = doc! { "$set": { "state": "Stopped" } };

    let refused = gateways.find_one_and_update(shop(), stop).projection(doc! { "state": 1 }).await.unwrap_err();

    assert_eq!(code(&refused), Some(NOT_IMPLEMENTED), "{refused}");
    assert!(refused.to_string().contains("support for field \"fields\" is not implemented yet"), "{refused}");
    let found = gateways.find_one(shop()).await.unwrap().unwrap();
    assert_eq!(found.get_str("state").unwrap(), "Running");
}

#[tokio::test]
async fn a_change_stream_goes_on_where_its_resume_token_says() {
    let database = Database::new("stream").await;
    let gateways = database.collection("ApiGateway");
    gateways.insert_one(doc! { "gatewayId": "before", "state": "Running" }).await.unwrap();
    let mut stream = change_stream(&gateways, None).await.unwrap();

    let shop = doc! { "gatewayId": "shop", "state": "Running" };
    let id = gateways.insert_one(shop).await.unwrap().inserted_id;
    let inserted = next(&mut stream).await;
    assert_eq!(shown(&inserted), (&OperationType::Insert, Some("Running")));
    let token = stream.resume_token();
    drop(stream);

    // No change stream is open.
    gateways.update_one(doc! { "_id": &id }, doc! { "$set": { "state": "Stopped" } }).await.unwrap();
    gateways.delete_one(doc! { "gatewayId": "before" }).await.unwrap();

    let mut stream = change_stream(&gateways, token).await.unwrap();
    assert_eq!(shown(&next(&mut stream).await), (&OperationType::Update, Some("Stopped")));
    let deleted = next(&mut stream).await;
    assert_eq!(shown(&deleted), (&OperationType::Delete, None));
    assert!(matches!(deleted.document_key.unwrap().get("_id"), Some(Bson::ObjectId(_))));
}

#[tokio::test]
async fn a_change_stream_shows_every_kind_of_write_and_none_that_was_refused_or_changed_nothing() {
    let database = Database::new("kinds").await;
    let gateways = database.collection("ApiGateway");
    make_unique(&gateways).await;
    let mut stream = change_stream(&gateways, None).await.unwrap();
    let shop = || doc! { "gatewayId": "shop" };
    let to = |state: &str| doc! { "$set": { "state": state } };

    let upserted = gateways.update_one(shop(), to("Running")).upsert(true).await.unwrap().upserted_id.unwrap();
    gateways.insert_one(doc! { "gatewayId": "shop", "state": "Refused" }).await.unwrap_err();
    gateways.update_one(shop(), to("Running")).await.unwrap();
    gateways.update_many(doc! { "gatewayId": "till" }, to("Elsewhere")).await.unwrap();
    gateways.find_one_and_update(doc! { "gatewayId": "till" }, to("Elsewhere")).await.unwrap();
    gateways.find_one_and_update(shop(), to("Stopped")).await.unwrap().unwrap();
    database.collection("Environment").insert_one(shop()).await.unwrap();
    assert_eq!(shown(&next(&mut stream).await), (&OperationType::Insert, Some("Running")));
    let updated = next(&mut stream).await;
    assert_eq!(shown(&updated), (&OperationType::Update, Some("Stopped")));
    assert_eq!(updated.document_key, Some(doc! { "_id": &upserted }));

    let till = doc! { "$set": { "gatewayId": "till", "state": "Running" } };
    let new = gateways.find_one_and_update(doc! { "gatewayId": "till" }, till).upsert(true);
    let new = new.return_document(ReturnDocument::After).await.unwrap().unwrap();
    assert_eq!(shown(&next(&mut stream).await), (&OperationType::Insert, Some("Running")));

    let taken = gateways.find_one_and_update(doc! { "gatewayId": "till" }, doc! { "$set": { "gatewayId": "shop" } });
    assert_eq!(code(&taken.await.unwrap_err()), Some(DUPLICATE_KEY));
    let deleted = gateways.find_one_and_delete(doc! { "gatewayId": "till" }).await.unwrap().unwrap();
    assert_eq!(deleted, new);
    let key = doc! { "_id": new.get("_id").unwrap() };
    let event = next(&mut stream).await;
    assert_eq!((event.operation_type, event.document_key), (OperationType::Delete, Some(key)));
}

#[tokio::test]
async fn a_change_stream_that_is_watched_again_shows_what_happens_from_then_on() {
    let database = Database::new("again").await;
    let gateways = database.collection("ApiGateway");
    let id = gateways.insert_one(doc! { "gatewayId": "shop", "state": "Running" }).await.unwrap().inserted_id;
    let mut stream = change_stream(&gateways, None).await.unwrap();

    // The stream shows only later changes, and only of its own collection.
    database.collection("Environment").insert_one(doc! { "gatewayId": "shop" }).await.unwrap();
    gateways.update_one(doc! { "_id": &id }, doc! { "$set": { "state": "Restarting" } }).await.unwrap();
    assert_eq!(shown(&next(&mut stream).await), (&OperationType::Update, Some("Restarting")));
}

#[tokio::test]
async fn a_change_stream_shows_every_one_of_many_writes_at_once() {
    const WRITES: usize = 500;
    let database = Database::new("burst").await;
    let gateways = database.collection("ApiGateway");
    gateways.insert_one(doc! { "gatewayId": "first", "state": "Running" }).await.unwrap();
    let mut stream = change_stream(&gateways, None).await.unwrap();

    let writer = |number: usize| {
        let gateways = gateways.clone();
        async move {
            let document = doc! { "gatewayId": format!("gw-{number}"), "state": "Running" };
            gateways.insert_one(document).await.unwrap();
        }
    };
    let writers: Vec<_> = (0..WRITES).map(|number| tokio::spawn(writer(number))).collect();

    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < WRITES {
        let document = next(&mut stream).await.full_document.unwrap();
        assert!(seen.insert(document.get_str("gatewayId").unwrap().to_owned()), "{document} comes twice");
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_change_streams_refuses_one_as_a_real_one_does() {
    let database = Database::local("polled", Storage::Memory, Changes::Polled).await;
    let gateways = database.collection("ApiGateway");
    gateways.insert_one(doc! { "gatewayId": "shop" }).await.unwrap();

    let refused = change_stream(&gateways, None).await.err().unwrap();

    assert_eq!(code(&refused), Some(NO_REPLICA_SET), "{refused}");
    assert_eq!(gateways.count_documents(doc! { "gatewayId": "shop" }).await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_server_with_a_file_has_answered_survives_its_death() {
    const DOCUMENTS: i32 = 100;
    let mut database = Database::local("killed", Storage::File, Changes::Streamed).await;
    let gateways = database.collection("ApiGateway");
    make_unique(&gateways).await;
    let mut stream = change_stream(&gateways, None).await.unwrap();
    gateways.insert_one(doc! { "gatewayId": "gw-0", "state": "Running" }).await.unwrap();
    next(&mut stream).await;
    let token = stream.resume_token();
    for number in 1..DOCUMENTS {
        let document = doc! { "gatewayId": format!("gw-{number}"), "state": "Running" };
        gateways.insert_one(document).await.unwrap();
    }

    database.kill();
    let away = gateways.find_one(doc! {}).await.unwrap_err();
    assert!(matches!(away.kind.as_ref(), ErrorKind::ServerSelection { .. } | ErrorKind::Io(_)), "{away}");
    database.start_again().await;

    let last = doc! { "gatewayId": format!("gw-{}", DOCUMENTS - 1) };
    database.until("ApiGateway", last, "being there", |_| true).await;
    assert_eq!(gateways.count_documents(doc! {}).await.unwrap(), DOCUMENTS as u64);
    let refused = gateways.insert_one(doc! { "gatewayId": "gw-1" }).await.unwrap_err();
    assert_eq!(code(&refused), Some(DUPLICATE_KEY), "{refused}");

    // The stream shows the changes from before the kill, then those from after it.
    gateways.update_one(doc! { "gatewayId": "gw-7" }, doc! { "$set": { "state": "Stopped" } }).await.unwrap();
    let mut stream = change_stream(&gateways, token).await.unwrap();
    for _ in 1..DOCUMENTS {
        assert_eq!(shown(&next(&mut stream).await), (&OperationType::Insert, Some("Running")));
    }
    assert_eq!(shown(&next(&mut stream).await), (&OperationType::Update, Some("Stopped")));
}

#[tokio::test]
async fn a_resume_token_that_is_too_old_is_refused_as_by_a_real_server() {
    let mut database = Database::local("forgotten", Storage::File, Changes::Streamed).await;
    let gateways = database.collection("ApiGateway");
    let mut stream = change_stream(&gateways, None).await.unwrap();
    gateways.insert_one(doc! { "gatewayId": "shop", "state": "Running" }).await.unwrap();
    next(&mut stream).await;
    let token = stream.resume_token();
    drop(stream);

    database.kill();
    database.start_again_without_history().await;
    database.until("ApiGateway", doc! { "gatewayId": "shop" }, "being there", |_| true).await;

    let refused = change_stream(&gateways, token).await.err().unwrap();
    assert_eq!(code(&refused), Some(HISTORY_LOST), "{refused}");
    let mut stream = change_stream(&gateways, None).await.unwrap();
    gateways.insert_one(doc! { "gatewayId": "till", "state": "Running" }).await.unwrap();
    next(&mut stream).await;
    change_stream(&gateways, stream.resume_token()).await.unwrap();
}

/// How long a ping through a proxy took, and whether it was answered.
async fn ping(client: &Client, database: &Database) -> (Duration, bool) {
    let began = Instant::now();
    let asked = client.database(database.name());
    let answered =
        tokio::time::timeout(Duration::from_secs(3), async { asked.run_command(doc! { "ping": 1 }).await }).await;
    (began.elapsed(), matches!(answered, Ok(Ok(_))))
}

async fn until_answered(client: &Client, database: &Database) {
    for _ in 0..20 {
        if ping(client, database).await.1 {
            return;
        }
    }
    panic!("the database does not answer again");
}

#[tokio::test]
async fn the_way_to_a_database_fails_as_it_is_told_to_and_is_good_again() {
    const DELAY: Duration = Duration::from_millis(700);
    let database = Database::local("proxied", Storage::Memory, Changes::Polled).await;
    let proxy = TcpProxy::start(database.address()).await;
    let mut options = ClientOptions::parse(database.uri_through(&proxy)).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(1));
    let client = Client::with_options(options).unwrap();
    until_answered(&client, &database).await;

    proxy.set(TcpMode::Slow(DELAY)).await;
    let (took, answered) = ping(&client, &database).await;
    assert!(answered && took >= DELAY, "{took:?}");

    // Open connections hang, and so do new ones.
    proxy.set(TcpMode::Hang).await;
    let ((took, answered), connected) =
        tokio::join!(ping(&client, &database), tokio::net::TcpStream::connect(proxy.address()));
    assert!(!answered && took >= Duration::from_secs(1), "{took:?}");
    connected.unwrap();
    proxy.set(TcpMode::Pass).await;
    until_answered(&client, &database).await;

    proxy.set(TcpMode::Refuse).await;
    let (_, answered) = ping(&client, &database).await;
    assert!(!answered);
    assert!(tokio::net::TcpStream::connect(proxy.address()).await.is_err());
    proxy.set(TcpMode::Pass).await;
    until_answered(&client, &database).await;

    let mut open = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            // The proxy may accept the connection only after the first cut, so the loop cuts again.
            proxy.cut();
            if let Ok(end) = tokio::time::timeout(Duration::from_millis(100), open.read(&mut [0])).await {
                return end;
            }
        }
    });
    assert!(matches!(closed.await.unwrap(), Ok(0) | Err(_)));
    until_answered(&client, &database).await;

    // Without the proxy, the database was reachable all the time.
    assert!(database.uri().contains(&database.address().to_string()));
}
