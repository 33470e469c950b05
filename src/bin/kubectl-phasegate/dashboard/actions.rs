//! The actions: a form names gateways and a verb, a page asks for confirmation, and the patches are sent.
//!
//! **Architecture invariant**: every form has the token of this process. Nothing is changed without the page that
//! names what is changed.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, Guarded, ObjectKey};

use super::console::Console;
use super::handlers::{frame, page};
use super::pages::{self, Tab};
use crate::change::{self, Plan, Verb};
use crate::failure::{FAILED, Failure};

/// How many gateways are read or written at once.
const AT_ONCE: usize = 8;

/// A form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form {
    token: Option<String>,
    verb: Option<Verb>,
    /// The gateways, each once, in the order of the form.
    keys: Vec<ObjectKey>,
}

impl Form {
    fn of(body: &str) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            match &*name {
                "form-token" => form.token = Some(value.into_owned()),
                "verb" => form.verb = Verb::ALL.into_iter().find(|verb| verb.word() == value),
                "gateway" => {
                    let key = value.split_once('/').map(|(namespace, name)| ObjectKey::new(namespace, name));
                    form.keys.extend(key.filter(|key| !form.keys.contains(key)));
                }
                _ => {}
            }
        }
        form
    }

    /// The verb and the gateways, if the form may be carried out.
    fn checked(self, console: &Console) -> Result<(Verb, Vec<ObjectKey>), (StatusCode, Failure)> {
        let refuse = |code, sentence: &str, advice: &str| Err((code, Failure::new(FAILED, sentence, advice)));
        if !console.guard.is_our_form(self.token.as_deref()) {
            return refuse(StatusCode::FORBIDDEN, "the form is from another dashboard", "Reload the page.");
        }
        if console.read_only {
            let advice = "Start the dashboard without --read-only.";
            return refuse(StatusCode::FORBIDDEN, "this dashboard is read-only", advice);
        }
        match (self.verb, self.keys) {
            (None, _) => refuse(StatusCode::BAD_REQUEST, "no action was chosen", "Choose one."),
            (Some(_), keys) if keys.is_empty() => {
                refuse(StatusCode::BAD_REQUEST, "no gateway was selected", "Select gateways first.")
            }
            (Some(verb), keys) => Ok((verb, keys)),
        }
    }
}

/// The page that names what will be changed.
pub async fn confirm(State(console): State<Console>, body: String) -> Response {
    match planned(&console, &body).await {
        Ok((verb, plan)) => page(StatusCode::OK, pages::actions::confirm(&frame(&console, Tab::None), verb, &plan)),
        Err((code, failure)) => page(code, pages::message(&frame(&console, Tab::None), &failure)),
    }
}

/// Changes the gateways of the form.
pub async fn carry_out(State(console): State<Console>, body: String) -> Response {
    let (verb, plan) = match planned(&console, &body).await {
        Ok(planned) => planned,
        Err((code, failure)) => return page(code, pages::message(&frame(&console, Tab::None), &failure)),
    };
    let Plan { patches, settled, failures } = plan;
    let sent = patches.into_iter().map(|patching| change::send(&console.cluster, verb, patching));
    let mut outcomes: Vec<_> = stream::iter(sent).buffer_unordered(AT_ONCE).collect().await;
    outcomes.extend(settled);
    outcomes.sort_by(|one, other| one.key.cmp(&other.key));
    page(StatusCode::OK, pages::actions::done(&frame(&console, Tab::None), verb, &outcomes, &failures))
}

async fn planned(console: &Console, body: &str) -> Result<(Verb, Plan), (StatusCode, Failure)> {
    let (verb, keys) = Form::of(body).checked(console)?;
    let reads = keys.into_iter().map(|key| read(console, key));
    let read: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for gateway in read {
        match gateway {
            Ok(gateway) => found.push(gateway),
            Err(failure) => failures.push(failure),
        }
    }
    let mut plan = Plan::of(verb, found, &Timestamp::now().to_string());
    plan.failures.extend(failures);
    Ok((verb, plan))
}

async fn read(console: &Console, key: ObjectKey) -> Result<Guarded<ApiGateway>, Failure> {
    Ok(Guarded::whole(console.cluster.at(&key.namespace).gateway(&key.name).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_each_gateway_once() {
        let form = Form::of("form-token=t&verb=stop&gateway=a%2Fb&gateway=a/b&gateway=evil&gateway=a/c&x=y");
        assert_eq!(form.token.as_deref(), Some("t"));
        assert_eq!(form.verb, Some(Verb::Stop));
        assert_eq!(form.keys, [ObjectKey::new("a", "b"), ObjectKey::new("a", "c")]);
        assert_eq!(Form::of("verb=destroy"), Form::default());
    }
}
