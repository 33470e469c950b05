//! The flags of registries, and their validated form.
//!
//! **Architecture invariant:** no secret is printed. `Debug` hides a `Secret`, and no error message quotes one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use mongodb::options::{ConnectionString, HostInfo};

use super::document::Defaults;
use crate::parse::{duration, namespace, namespace_or_nothing};

/// The registry of gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Kubernetes only: the ApiGateways are the records.
    Kubernetes,
    /// Also a platform's MongoDB.
    Mongodb,
}

/// The flags of registries.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct Arguments {
    /// Registry of gateways: Kubernetes only, or also a platform's MongoDB. With MongoDB, the collections ApiGateway
    /// and Environment drive the operator and mirror its objects.
    #[arg(long, env = "PHASEGATE_REGISTRY", value_enum, default_value = "kubernetes")]
    pub registry: Kind,

    /// Connection string. It may have a password, which arguments expose to all users of the host: prefer the
    /// variable or the file.
    #[arg(long, env = "MONGODB_URI", hide_env_values = true, value_name = "URI")]
    pub mongodb_uri: Option<Secret>,

    /// Path of a file with the connection string.
    #[arg(long, env = "PHASEGATE_MONGODB_URI_FILE", value_name = "FILE")]
    pub mongodb_uri_file: Option<PathBuf>,

    /// Name of the database. Default: the one in the connection string.
    #[arg(long, env = "PHASEGATE_MONGODB_DATABASE", value_name = "NAME")]
    pub mongodb_database: Option<String>,

    /// User, if the connection string has none.
    #[arg(long, env = "PHASEGATE_MONGODB_USERNAME", value_name = "NAME")]
    pub mongodb_username: Option<String>,

    /// Path of a file with the password.
    #[arg(long, env = "PHASEGATE_MONGODB_PASSWORD_FILE", value_name = "FILE", requires = "mongodb_username")]
    pub mongodb_password_file: Option<PathBuf>,

    /// Default namespace of gateways, for documents without one.
    #[arg(long, env = "PHASEGATE_GATEWAY_NAMESPACE", value_parser = namespace)]
    pub gateway_namespace: Option<String>,

    /// Namespaces that documents may use, comma-separated. Default: --gateway-namespace only.
    #[arg(long, env = "PHASEGATE_GATEWAY_ALLOWED_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_nothing)]
    pub gateway_allowed_namespaces: Vec<String>,

    /// Default image of gateways, for documents without one.
    #[arg(long, env = "PHASEGATE_GATEWAY_IMAGE")]
    pub gateway_image: Option<String>,

    /// Default port of gateways, for documents without one.
    #[arg(long, env = "PHASEGATE_GATEWAY_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub gateway_port: Option<u16>,

    /// Domain for default hosts of gateways (GATEWAYID.DOMAIN) and environments (GATEWAYID-NAME.DOMAIN), for
    /// documents without a host. Default: no host.
    #[arg(long, env = "PHASEGATE_GATEWAY_DOMAIN")]
    pub gateway_domain: Option<String>,

    /// Polling interval for servers without change streams.
    #[arg(long, env = "PHASEGATE_REGISTRY_SCAN_INTERVAL", default_value = "5s", value_parser = duration)]
    pub registry_scan_interval: Duration,

    /// Timeout of a registry request.
    #[arg(long, env = "PHASEGATE_REGISTRY_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub registry_timeout: Duration,

    /// How long a deleted gateway waits for an unreachable registry. After that it is deleted, and its documents are
    /// removed later.
    #[arg(long, env = "PHASEGATE_REGISTRY_DELETION_TIMEOUT", default_value = "10m", value_parser = duration)]
    pub registry_deletion_timeout: Duration,
}

/// A text that is never printed, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is never shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// How to reach the database, and its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The connection string.
    pub uri: Secret,
    /// The hosts in the connection string, for messages.
    pub hosts: String,
    /// The database.
    pub database: String,
    /// A user that the connection string does not contain.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The interval of scans on a server without change streams.
    pub scan_interval: Duration,
    /// The timeout of one call.
    pub timeout: Duration,
    /// Defaults for documents.
    pub defaults: Defaults,
}

impl Arguments {
    /// Validates the flags, if the registry is MongoDB. `watched` are the namespaces that the operator watches;
    /// empty: all.
    ///
    /// # Errors
    /// A sentence that names the flags and contains no secret.
    pub fn settings(&self, watched: &[String], operator: &str) -> Result<Option<Settings>, String> {
        if self.registry == Kind::Kubernetes {
            return Ok(None);
        }
        let uri = self.uri()?;
        let parsed = ConnectionString::parse(uri.reveal().trim()).map_err(|_| {
            "the connection string (--mongodb-uri, MONGODB_URI or --mongodb-uri-file) must be like \
             mongodb://mongo.example.com:27017"
                .to_owned()
        })?;
        let hosts = match &parsed.host_info {
            HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            HostInfo::DnsRecord(name) => name.clone(),
            _ => "the database".to_owned(),
        };
        let database = self.mongodb_database.clone().filter(|name| !name.is_empty()).or(parsed.default_database);
        let database = database.ok_or(
            "--registry mongodb needs a database: --mongodb-database, or one in the connection string".to_owned(),
        )?;
        if database.is_empty() || database.contains(['/', '\\', '.', ' ', '"', '$', '\0']) || database.len() > 63 {
            return Err("--mongodb-database is not a valid database name".to_owned());
        }
        let password = match &self.mongodb_password_file {
            Some(file) => Some(secret_in("--mongodb-password-file", file)?),
            None => None,
        };
        Ok(Some(Settings {
            uri,
            hosts,
            database,
            username: self.mongodb_username.clone(),
            password,
            scan_interval: self.registry_scan_interval,
            timeout: self.registry_timeout,
            defaults: self.defaults(watched, operator)?,
        }))
    }

    fn uri(&self) -> Result<Secret, String> {
        let given = self.mongodb_uri.clone().filter(|uri| !uri.reveal().is_empty());
        match (given, &self.mongodb_uri_file) {
            (_, Some(file)) => secret_in("--mongodb-uri-file", file),
            (Some(uri), None) => Ok(uri),
            (None, None) => Err("--registry mongodb needs a connection string: MONGODB_URI, --mongodb-uri-file or \
                                 --mongodb-uri"
                .to_owned()),
        }
    }

    fn defaults(&self, watched: &[String], operator: &str) -> Result<Defaults, String> {
        let given = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        let namespace = given(self.gateway_namespace.as_ref())
            .ok_or("--registry mongodb needs --gateway-namespace, the default namespace of gateways")?;
        let mut allowed: Vec<String> =
            self.gateway_allowed_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        if allowed.is_empty() {
            allowed.push(namespace.clone());
        }
        if !allowed.contains(&namespace) {
            return Err(format!(
                "--gateway-namespace ({namespace}) must be one of --gateway-allowed-namespaces ({})",
                allowed.join(", ")
            ));
        }
        if let Some(unseen) = allowed.iter().find(|name| !watched.is_empty() && !watched.contains(name)) {
            return Err(format!(
                "--gateway-allowed-namespaces has {unseen}, which is not watched: add it to --namespaces"
            ));
        }
        Ok(Defaults {
            namespace,
            allowed,
            image: given(self.gateway_image.as_ref()),
            port: self.gateway_port,
            domain: given(self.gateway_domain.as_ref()).map(|domain| domain.trim_start_matches('.').to_owned()),
            operator: operator.to_owned(),
        })
    }
}

fn secret_in(flag: &str, file: &PathBuf) -> Result<Secret, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{flag} {}: {error}", file.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn settings(flags: &[&str]) -> Result<Option<Settings>, String> {
        let flags = ["test"].iter().chain(flags);
        Only::try_parse_from(flags).unwrap().arguments.settings(&["tenants".to_owned()], "me")
    }

    const LEAST: [&str; 6] = [
        "--registry",
        "mongodb",
        "--mongodb-uri",
        "mongodb://joe:s3cret@one:27017,two/platform",
        "--gateway-namespace",
        "tenants",
    ];

    fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
        LEAST.iter().chain(more).copied().collect()
    }

    #[test]
    fn kubernetes_is_the_registry_where_nothing_is_said() {
        assert_eq!(settings(&[]), Ok(None));
    }

    #[test]
    fn hosts_and_database_are_those_of_the_connection_string() {
        let settings = settings(&LEAST).unwrap().unwrap();
        assert_eq!((settings.hosts.as_str(), settings.database.as_str()), ("one:27017, two:27017", "platform"));
        assert_eq!(settings.defaults.allowed, ["tenants"]);
    }

    #[test]
    fn no_password_is_shown() {
        let parsed = Only::try_parse_from(["test"].iter().chain(&LEAST)).unwrap().arguments;
        let shown = format!("{parsed:?} {:?}", settings(&LEAST));
        assert!(!shown.contains("s3cret") && !shown.contains("joe"), "{shown}");
        let wrong = ["--registry", "mongodb", "--mongodb-uri", "mongo://joe:s3cret@one", "--gateway-namespace", "x"];
        let complaint = settings(&wrong).unwrap_err();
        assert!(complaint.contains("--mongodb-uri") && !complaint.contains("s3cret"), "{complaint}");
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        for (flags, word) in [
            (vec!["--registry", "mongodb"], "MONGODB_URI"),
            (vec!["--registry", "mongodb", "--mongodb-uri", "mongodb://one"], "--mongodb-database"),
            (LEAST[..4].to_vec(), "--gateway-namespace"),
            (with(&["--gateway-allowed-namespaces", "others"]), "--gateway-allowed-namespaces"),
            (with(&["--gateway-allowed-namespaces", "tenants,others"]), "--namespaces"),
            (with(&["--mongodb-uri-file", "/nowhere/at/all"]), "--mongodb-uri-file"),
            (with(&["--mongodb-database", "a/b"]), "--mongodb-database"),
        ] {
            let complaint = settings(&flags).unwrap_err();
            assert!(complaint.contains(word), "{flags:?}: {complaint}");
        }
    }
}
