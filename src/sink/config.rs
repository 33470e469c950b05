//! The flags of the sink, and their validated form.
//!
//! **Architecture invariant:** no secret is printed. The secrets stay in their file, and no message quotes the path or
//! the query of the sink's URL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::signature::Secrets;
use crate::parse::duration;
use crate::registry::config::Secret;

/// The flags of the sink.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Events")]
#[group(id = "events")]
pub struct Arguments {
    /// URL of an HTTP sink for transitions of gateways, as CloudEvents. Use http only inside the cluster. Default: no
    /// events are sent.
    #[arg(long, env = "PHASEGATE_EVENTS_SINK", hide_env_values = true, value_name = "URL")]
    pub events_sink: Option<Secret>,

    /// Path of a file with the secrets that sign events (Standard Webhooks), as whsec_BASE64, one per line. Each of
    /// them signs, so that secrets can be rotated. The file is read again for each event. Default: events are not
    /// signed.
    #[arg(long, env = "PHASEGATE_EVENTS_SINK_SECRET_FILE", value_name = "FILE", requires = "events_sink")]
    pub events_sink_secret_file: Option<PathBuf>,

    /// Path of a file with the CA certificates of the sink (PEM). Required for https in the image, which has no
    /// certificates. Default: those of the host.
    #[arg(long, env = "PHASEGATE_EVENTS_SINK_CA_FILE", value_name = "FILE", requires = "events_sink")]
    pub events_sink_ca_file: Option<PathBuf>,

    /// Timeout of a request to the sink.
    #[arg(long, env = "PHASEGATE_EVENTS_SINK_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub events_sink_timeout: Duration,
}

/// Where events go.
#[derive(Clone)]
pub struct Settings {
    /// The URL.
    pub uri: Uri,
    /// The scheme and the host, for messages.
    pub shown: String,
    /// The file with the secrets.
    pub secret_file: Option<PathBuf>,
    /// The certificates to trust instead of the host's.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The timeout of a request.
    pub timeout: Duration,
}

impl Arguments {
    /// Validates the flags, if there is a sink.
    ///
    /// # Errors
    /// A sentence that names the flags and contains no secret.
    pub fn settings(&self) -> Result<Option<Settings>, String> {
        let Some(url) = self.events_sink.as_ref().filter(|url| !url.reveal().is_empty()) else { return Ok(None) };
        let uri = uri(url)?;
        if let Some(file) = given(self.events_sink_secret_file.as_ref()) {
            Secrets::read(file).map_err(|error| format!("--events-sink-secret-file {}: {error}", file.display()))?;
        }
        let authorities = match given(self.events_sink_ca_file.as_ref()) {
            Some(file) => {
                Some(certificates(file).map_err(|error| format!("--events-sink-ca-file {}: {error}", file.display()))?)
            }
            // No certificate is needed, and the image has none.
            None if uri.scheme_str() == Some("http") => Some(Vec::new()),
            None => None,
        };
        let shown = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
        );
        let secret_file = given(self.events_sink_secret_file.as_ref()).map(Path::to_path_buf);
        Ok(Some(Settings { uri, shown, secret_file, authorities, timeout: self.events_sink_timeout }))
    }
}

/// An empty variable counts as unset.
fn given(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|_| "is not valid PEM".to_owned())?;
    if all.is_empty() {
        return Err("contains no certificate".to_owned());
    }
    Ok(all.into_iter().map(|certificate| certificate.to_vec()).collect())
}

fn uri(url: &Secret) -> Result<Uri, String> {
    let wrong = || "--events-sink must be a URL such as https://events.example.com/phasegate".to_owned();
    let uri: Uri = url.reveal().parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(wrong());
    }
    if authority.as_str().contains('@') {
        return Err("--events-sink must not contain credentials: use --events-sink-secret-file".to_owned());
    }
    Ok(uri)
}
