//! Whose words they are.

use crate::decide::api_message::{ApiMessage, classify};

#[test]
fn what_a_webhook_denies_is_its_own_word_whatever_it_repeats() {
    for words in [
        r#"admission webhook "no.example.com" denied the request: not on Fridays"#,
        r#"admission webhook "no.example.com" denied the request without explanation"#,
        r#"admission webhook "no.example.com" denied the request: failed calling webhook "other": away"#,
        r#"admission webhook "no.example.com" denied the request: rpc error: code = Unavailable"#,
    ] {
        assert_eq!(classify(words), ApiMessage::Denied, "{words}");
    }
}

#[test]
fn a_webhook_that_cannot_be_asked_has_a_name_and_a_reason() {
    let refused = r#"failed to call webhook: Post "https://127.0.0.1:1/?timeout=10s": dial tcp: connection refused"#;
    let slow = r#"failed to call webhook: Post "https://10.0.0.1:443/?timeout=5s": context deadline exceeded"#;
    for words in [refused, slow, "received invalid webhook response: no kind"] {
        let away = ApiMessage::WebhookUnavailable { webhook: "away.example.com", words };
        let message = format!(r#"failed calling webhook "away.example.com": {words}"#);
        assert_eq!(classify(&message), away);
        assert_eq!(classify(&format!("Internal error occurred: {message}")), away);
    }
    assert_eq!(
        classify(r#"failed calling webhook "away.example.com"; no further details available"#),
        ApiMessage::WebhookUnavailable { webhook: "away.example.com", words: "no further details available" }
    );
    assert_eq!(
        classify(r#"conversion webhook for phasegate.dev/v1, Kind=ApiGateway failed: Post "https://x": EOF"#),
        ApiMessage::WebhookUnavailable {
            webhook: "phasegate.dev/v1, Kind=ApiGateway",
            words: r#"Post "https://x": EOF"#
        }
    );
}

#[test]
fn a_storage_that_is_away_is_told_apart_from_a_request_that_it_will_not_have() {
    for words in [
        "rpc error: code = Unavailable desc = error reading from server: EOF",
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "rpc error: code = Unknown desc = raft: stopped",
        "etcdserver: request timed out",
        "etcdserver: request timed out, possibly due to previous leader failure",
        "etcdserver: leader changed",
        "etcdserver: no leader",
        "etcdserver: too many requests",
        "etcdserver: mvcc: database space exceeded",
        "Internal error occurred: etcdserver: request timed out",
        "context deadline exceeded",
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
        "the server is currently unable to handle the request (post pods)",
        "the server was unable to return a response in the time allotted, but may still be processing the request (post \
         pods)",
        "the server has received too many requests and has asked us to try again later (post pods)",
        "the server has asked for the client to provide credentials (post pods)",
        "Unauthorized",
        "an error on the server (\"unknown\") has prevented the request from succeeding (post pods)",
        "unexpected error when reading response body. Please retry. Original error: http2: client connection lost",
        "stream error when reading response body, may be caused by closed connection. Please retry. Original error: stream \
         error: stream ID 1; INTERNAL_ERROR; received from peer",
        "http2: client connection lost",
        "client rate limiter Wait returned an error: context deadline exceeded",
        "Internal error occurred: resource quota evaluation timed out",
        r#"Post "https://10.96.0.1:443/api/v1/namespaces/a/pods": dial tcp 10.96.0.1:443: connect: connection refused"#,
    ] {
        assert_eq!(classify(words), ApiMessage::StorageUnavailable, "{words}");
    }
    for words in [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max",
        "Internal error occurred: failed to allocate a serviceIP: range is full",
    ] {
        assert_eq!(classify(words), ApiMessage::Other, "{words}");
    }
}

#[test]
fn what_is_forbidden_is_a_permission_an_api_server_that_is_not_ready_or_a_rule() {
    let user = r#"deployments.apps "shop" is forbidden: User "system:serviceaccount:a:b" cannot create resource "deployments""#;
    assert_eq!(classify(user), ApiMessage::NotPermitted);
    assert_eq!(classify(r#"services "shop" is forbidden: not yet ready to handle request"#), ApiMessage::NotReady);
    for looked_up in [
        "the server was unable to return a response in the time allotted, but may still be processing the request (get \
         limitranges)",
        "the server is currently unable to handle the request (get limitranges)",
        "the server has received too many requests and has asked us to try again later (get limitranges)",
        r#"Get "https://[::1]:6443/api/v1/namespaces/a/limitranges": dial tcp [::1]:6443: connect: connection refused"#,
        "client rate limiter Wait returned an error: context deadline exceeded",
        "rpc error: code = Unavailable desc = error reading from server: EOF",
        "etcdserver: request timed out",
        "Internal error occurred: etcdserver: leader changed",
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
        "unable to CREATE pods at this time because there was an error enforcing limit ranges",
        "error looking up service account a/default: etcdserver: request timed out",
        "error looking up service account a/default: the server is currently unable to handle the request (get \
         serviceaccounts default)",
    ] {
        let words = format!(r#"pods "shop-7d9f8b6c5-" is forbidden: {looked_up}"#);
        assert_eq!(classify(&words), ApiMessage::StorageUnavailable, "{words}");
    }
    for words in [
        r#"pods "shop" is forbidden: exceeded quota: small"#,
        r#"pods "shop" is forbidden: error looking up service account a/gone: serviceaccount "gone" not found"#,
        r#"pods "shop" is forbidden: ValidatingAdmissionPolicy 'p' denied request: etcdserver: request timed out"#,
        r#"deployments.apps "shop" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to"#,
        r#"deployments.apps "shop" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed calling webhook "x""#,
    ] {
        assert_eq!(classify(words), ApiMessage::Other, "{words}");
    }
}
