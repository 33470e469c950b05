//! What is sent, how it is signed, and what an answer means.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::answer::Answer;
use super::config::{Arguments, Settings};
use super::event;
use super::signature::Secrets;
use crate::api::{ApiGatewayStatus, ObjectKey};
use crate::metrics::labels::EventFailure;
use crate::outbox::{Due, due};

fn settings(flags: &[&str]) -> Result<Option<Settings>, String> {
    use clap::Parser;
    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        arguments: Arguments,
    }
    let parsed = Only::try_parse_from(["test"].iter().chain(flags)).map_err(|error| error.to_string())?;
    assert!(!format!("{:?}", parsed.arguments).contains("token"));
    parsed.arguments.settings()
}

/// The example of the specification.
#[test]
fn a_signature_is_that_of_standard_webhooks() {
    let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn each_secret_of_a_file_signs_and_one_that_is_too_short_is_refused() {
    let secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\n whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA \n";
    assert_eq!(Secrets::parse(secrets).unwrap().sign("a", 1, b"").matches("v1,").count(), 2);
    for wrong in ["", "\n", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_#"] {
        let error = Secrets::parse(wrong).err().unwrap();
        assert!(error.starts_with("must contain 1 to 5 secrets"), "{wrong:?}: {error}");
    }
}

#[test]
fn only_what_is_wrong_with_the_event_refuses_it() {
    let of = |code: u16, retry_after: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.extend(retry_after.map(|value| (header::RETRY_AFTER, value.parse().unwrap())));
        Answer::of(StatusCode::from_u16(code).unwrap(), &headers)
    };
    for code in [200, 202, 204] {
        assert_eq!(of(code, None), Answer::Taken, "{code}");
    }
    for code in [400, 413, 415, 422] {
        assert_eq!(of(code, None), Answer::Refused, "{code}");
    }
    for (code, why) in [
        (301, EventFailure::Redirect),
        (401, EventFailure::Unauthorized),
        (404, EventFailure::ClientError),
        (408, EventFailure::ClientError),
        (410, EventFailure::ClientError),
        (429, EventFailure::Throttled),
        (503, EventFailure::ServerError),
    ] {
        assert_eq!(of(code, None), Answer::failed(why), "{code}");
    }
    assert_eq!(of(429, Some("7")), Answer::Later(EventFailure::Throttled, Duration::from_secs(7)));
    assert_eq!(of(503, Some("86400")), Answer::Later(EventFailure::ServerError, Duration::from_secs(300)));
    assert_eq!(of(503, Some("Fri, 31 Dec 1999 23:59:59 GMT")), Answer::failed(EventFailure::ServerError));
}

#[test]
fn an_event_has_every_attribute_and_shows_nothing_hidden() {
    let entry = json!({
        "at": "2026-01-01T00:00:00.123456Z", "from": "Starting", "to": "Started", "state": "Stopped",
        "reason": "StartDeadlineExceeded", "message": "evil\u{1b}[2J\u{202e}\r\n\"}", "seconds": 300,
    });
    let attempt = json!({ "number": 2, "startedAt": "2026-01-01T00:00:00.000000Z" });
    let status = ApiGatewayStatus {
        transitions: 12,
        history: vec![serde_json::from_value(entry).unwrap()],
        attempt: Some(serde_json::from_value(attempt).unwrap()),
        ..ApiGatewayStatus::default()
    };
    let Due::Event(due) = due(&status, 9) else { panic!("nothing is due") };
    let body = event::body("some-uid", &ObjectKey::new("tenants", "shop"), &due, 3).unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": "some-uid/12",
        "type": "dev.phasegate.apigateway.failed",
        "source": "/apis/phasegate.dev/v1alpha1/namespaces/tenants/apigateways/shop",
        "subject": "shop",
        "time": "2026-01-01T00:00:00.123456Z",
        "sequence": "0000000012",
        "missed": 5,
        "datacontenttype": "application/json",
        "data": {
            "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "namespace": "tenants", "name": "shop",
            "uid": "some-uid", "from": "Starting", "phase": "Started", "state": "Stopped",
            "reason": "StartDeadlineExceeded", "message": "evil[2J \"}", "attempt": 2, "seconds": 300,
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn a_url_that_is_no_sink_is_refused_without_its_secrets() {
    for wrong in
        ["events.example.com", "ftp://example.com/", "https:///x", "/relative", "https://joe:token@example.com/"]
    {
        let refused = settings(&["--events-sink", wrong]).err().unwrap();
        assert!(refused.starts_with("--events-sink must") && !refused.contains("token"), "{refused}");
    }
    let settings = settings(&["--events-sink", "https://example.com:8443/in?token=1"]).unwrap().unwrap();
    assert_eq!(settings.shown, "https://example.com:8443");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for flag in ["--events-sink-secret-file", "--events-sink-ca-file"] {
        let refused = settings(&["--events-sink", "https://example.com/", flag, "/nowhere/at/all"]).err().unwrap();
        assert!(refused.starts_with(&format!("{flag} /nowhere/at/all: ")), "{refused}");
        let alone = settings(&[flag, "/nowhere"]).err().unwrap();
        assert!(alone.contains("--events-sink <URL>"), "{alone}");
    }
    assert!(settings(&[]).unwrap().is_none() && settings(&["--events-sink="]).unwrap().is_none());
}
