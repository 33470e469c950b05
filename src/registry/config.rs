//! The flags of registries.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use mongodb::options::{ConnectionString, HostInfo};

use super::document::Defaults;
use crate::parse::{duration, namespace, namespace_or_nothing};

/// Where gateways are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// In Kubernetes alone: the objects are the records.
    Kubernetes,
    /// In a platform's MongoDB as well.
    Mongodb,
}

/// The flags of registries.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct Arguments {
    /// Where gateways are recorded: in Kubernetes alone, or in a platform's MongoDB as well, whose collections
    /// ApiGateway and Environment then drive the operator and mirror it.
    #[arg(long, env = "PHASEGATE_REGISTRY", value_enum, default_value = "kubernetes")]
    pub registry: Kind,

    /// The connection string. It may hold a password, which every user of the host may read from an argument:
    /// better the variable, or the file.
    #[arg(long, env = "MONGODB_URI", hide_env_values = true, value_name = "URI")]
    pub mongodb_uri: Option<Secret>,

    /// A file that holds the connection string.
    #[arg(long, env = "PHASEGATE_MONGODB_URI_FILE", value_name = "FILE")]
    pub mongodb_uri_file: Option<PathBuf>,

    /// The database. None: the one that the connection string names.
    #[arg(long, env = "PHASEGATE_MONGODB_DATABASE", value_name = "NAME")]
    pub mongodb_database: Option<String>,

    /// The user, where the connection string names none.
    #[arg(long, env = "PHASEGATE_MONGODB_USERNAME", value_name = "NAME")]
    pub mongodb_username: Option<String>,

    /// A file that holds the user's password.
    #[arg(long, env = "PHASEGATE_MONGODB_PASSWORD_FILE", value_name = "FILE", requires = "mongodb_username")]
    pub mongodb_password_file: Option<PathBuf>,

    /// The namespace of gateways whose documents name none.
    #[arg(long, env = "PHASEGATE_GATEWAY_NAMESPACE", value_parser = namespace)]
    pub gateway_namespace: Option<String>,

    /// The namespaces that documents may name, separated by commas. None: --gateway-namespace alone.
    #[arg(long, env = "PHASEGATE_GATEWAY_ALLOWED_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_nothing)]
    pub gateway_allowed_namespaces: Vec<String>,

    /// The image of gateways whose documents name none.
    #[arg(long, env = "PHASEGATE_GATEWAY_IMAGE")]
    pub gateway_image: Option<String>,

    /// The port of gateways whose documents name none.
    #[arg(long, env = "PHASEGATE_GATEWAY_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub gateway_port: Option<u16>,

    /// The domain below which gateways and environments whose documents name no host have theirs:
    /// GATEWAYID.DOMAIN and GATEWAYID-NAME.DOMAIN. None: they have no host.
    #[arg(long, env = "PHASEGATE_GATEWAY_DOMAIN")]
    pub gateway_domain: Option<String>,

    /// How often the collections are read where the server has no change streams.
    #[arg(long, env = "PHASEGATE_REGISTRY_SCAN_INTERVAL", default_value = "5s", value_parser = duration)]
    pub registry_scan_interval: Duration,

    /// How long one call to the registry may take.
    #[arg(long, env = "PHASEGATE_REGISTRY_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub registry_timeout: Duration,

    /// How long a gateway that is being deleted waits for a registry that does not answer. Its documents are
    /// removed later then.
    #[arg(long, env = "PHASEGATE_REGISTRY_DELETION_TIMEOUT", default_value = "10m", value_parser = duration)]
    pub registry_deletion_timeout: Duration,
}

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is never shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// For whoever needs it.
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

/// Where the database is, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The connection string.
    pub uri: Secret,
    /// The hosts that it names, for messages.
    pub hosts: String,
    /// The database.
    pub database: String,
    /// A user who is not in the connection string.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// How often the collections are read where there are no change streams.
    pub scan_interval: Duration,
    /// How long one call may take.
    pub timeout: Duration,
    /// What documents that say nothing mean.
    pub defaults: Defaults,
}

impl Arguments {
    /// What the flags say, where the registry is MongoDB. `watched` are the namespaces that the operator
    /// watches; none: all.
    ///
    /// # Errors
    /// A sentence that names the flags, and nothing of what is secret.
    pub fn settings(&self, watched: &[String], operator: &str) -> Result<Option<Settings>, String> {
        if self.registry == Kind::Kubernetes {
            return Ok(None);
        }
        let uri = self.uri()?;
        let parsed = ConnectionString::parse(uri.reveal().trim()).map_err(|_| {
            "the connection string (--mongodb-uri, MONGODB_URI or --mongodb-uri-file) is none such as \
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
            return Err("--mongodb-database is no name of a database".to_owned());
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
            .ok_or("--registry mongodb needs --gateway-namespace: where gateways are whose documents name none")?;
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
                "documents may name the namespace {unseen}, which is none of those that are watched (--namespaces): \
                 its gateways would not be worked on"
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
