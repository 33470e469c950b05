//! The job that every design does: a document asks for a gateway, and a gateway is a record, a Deployment, a Service,
//! an Ingress and active environments.
//!
//! The document is the one that the operator reads with `--registry mongodb`, so that a user cannot tell the designs
//! apart.

use std::time::Duration;

use mongodb::bson::Document;
use mongodb::bson::oid::ObjectId;

/// What all gateways have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the children.
    pub namespace: String,
    /// The domain of the gateways' hosts.
    pub domain: String,
    /// The time after which a start is given up.
    pub deadline: Duration,
    /// The pause between two looks at the database, where no change stream tells sooner.
    pub poll: Duration,
}

/// What the user wants of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The gateway runs.
    Run,
    /// The gateway is stopped, and its document stays.
    Stop,
    /// The gateway and its document are removed.
    Delete,
}

impl Wish {
    /// The value of the document's field `state`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "Running",
            Self::Stop => "Stopped",
            Self::Delete => "Deleted",
        }
    }
}

/// A gateway's document, as far as the job needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The gateway's name.
    pub name: String,
    /// The document's identity. Children carry it, so that a document of the same name is another gateway.
    pub uid: String,
    /// The image of the pods.
    pub image: String,
    /// What the user wants.
    pub wish: Wish,
    /// The phase that was recorded last.
    pub phase: String,
    /// The number of attempts that have ended.
    pub attempt: i64,
}

impl Job {
    /// Reads a document. Returns `None` if it is not a gateway's.
    pub fn read(document: &Document) -> Option<Self> {
        let wish = match document.get_str("state").ok()? {
            "Running" => Wish::Run,
            "Stopped" => Wish::Stop,
            "Deleted" => Wish::Delete,
            _ => return None,
        };
        let image = document.get_document("spec").ok().and_then(|spec| spec.get_str("image").ok());
        Some(Self {
            name: document.get_str("gatewayId").ok()?.to_owned(),
            uid: document.get_object_id("_id").map(ObjectId::to_hex).ok()?,
            image: image.unwrap_or("acme/gateway:1").to_owned(),
            wish,
            phase: document.get_str("phase").unwrap_or_default().to_owned(),
            attempt: document.get_i64("attempt").unwrap_or_default(),
        })
    }

    /// The key of an attempt in logs and events: no two attempts share it.
    pub fn run(&self) -> String {
        format!("{}:{}", self.uid, self.attempt)
    }
}

/// Why a step did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side is unreachable or busy; the same call may succeed later.
    Transient(String),
    /// The other side refuses; the same call fails again.
    Refused(String),
}

impl Failure {
    /// The other side's message.
    pub fn message(&self) -> &str {
        let (Self::Transient(message) | Self::Refused(message)) = self;
        message
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.message())
    }
}

impl std::error::Error for Failure {}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Transient(error.to_string())
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        // A conflict is resolved by reading again; the codes from 500 on, and 429, are the server's own trouble.
        match &error {
            kube::Error::Api(status) if status.code < 500 && ![409, 429].contains(&status.code) => {
                Self::Refused(status.message.clone())
            }
            _ => Self::Transient(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The pause before the next try of a call that failed for a moment: from 50 ms up to 2 s.
pub fn backoff(tries: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    FIRST.saturating_mul(1 << tries.min(10)).min(LONGEST)
}

/// Repeats a call until it succeeds or is refused.
///
/// # Errors
/// The other side refuses the call.
pub async fn until_answered<T, F>(call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries = 0;
    loop {
        match call().await {
            Err(Failure::Transient(_)) => tokio::time::sleep(backoff(tries)).await,
            answered => return answered,
        }
        tries += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn a_document_of_the_operators_registry_is_a_job() {
        let id = ObjectId::new();
        let document = doc! {
            "_id": id, "gatewayId": "shop", "state": "Running", "phase": "Created", "spec": { "image": "a:1" },
        };
        let job = Job::read(&document).unwrap();
        assert_eq!((job.name.as_str(), job.image.as_str(), job.wish), ("shop", "a:1", Wish::Run));
        assert_eq!(job.run(), format!("{}:0", id.to_hex()));
        assert_eq!(Job::read(&doc! { "_id": id, "gatewayId": "shop", "state": "Restarting" }), None);
    }

    #[test]
    fn a_pause_doubles_up_to_two_seconds() {
        let pauses: Vec<u128> = [0, 1, 2, 6, 1_000].map(|tries| backoff(tries).as_millis()).to_vec();
        assert_eq!(pauses, [50, 100, 200, 2_000, 2_000]);
    }
}
