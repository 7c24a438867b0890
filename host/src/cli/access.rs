//! Flags of whom the kubelet API lets in: the kubelet's own names and defaults.

use std::time::Duration;

use clap::Args;

use super::duration;
use crate::defaults::cli as defaults;
use crate::kubelet::{access, authentication, authorization};

/// Longest time that an answer may be kept: whose rights were taken away keeps them for so long.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Flags of whom the kubelet API lets in.
#[derive(Args, Debug)]
pub struct Access {
    /// Take a request without certificate and token for one of system:anonymous instead of refusing it; it still needs the right to
    /// do what it asks for
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = clap::ArgAction::Set, help_heading = "Kubelet API")]
    anonymous_auth: bool,
    /// Take bearer tokens that the API server knows (TokenReview)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set, help_heading = "Kubelet API")]
    authentication_token_webhook: bool,
    /// How long a good token is not reviewed again; 0: each time
    #[arg(long, value_name = "DURATION", default_value = defaults::TOKEN_TTL, value_parser = ttl, help_heading = "Kubelet API")]
    authentication_token_webhook_cache_ttl: Duration,
    /// How long a right is not asked for again (SubjectAccessReview); 0: each time
    #[arg(long, value_name = "DURATION", default_value = defaults::AUTHORIZED_TTL, value_parser = ttl, help_heading = "Kubelet API")]
    authorization_webhook_cache_authorized_ttl: Duration,
    /// How long a right that is missing is not asked for again; 0: each time
    #[arg(long, value_name = "DURATION", default_value = defaults::UNAUTHORIZED_TTL, value_parser = ttl, help_heading = "Kubelet API")]
    authorization_webhook_cache_unauthorized_ttl: Duration,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let time = if text == "0" { Duration::ZERO } else { duration(text)? };
    if time > LONGEST_TTL { Err("give 24h at most".into()) } else { Ok(time) }
}

impl Access {
    /// What the flags mean.
    pub(super) fn into_config(self) -> access::Config {
        let Self {
            anonymous_auth,
            authentication_token_webhook,
            authentication_token_webhook_cache_ttl,
            authorization_webhook_cache_authorized_ttl,
            authorization_webhook_cache_unauthorized_ttl,
        } = self;
        access::Config {
            authentication: authentication::Config {
                anonymous: anonymous_auth,
                tokens: authentication_token_webhook,
                token_ttl: authentication_token_webhook_cache_ttl,
            },
            authorization: authorization::Config {
                allowed_ttl: authorization_webhook_cache_authorized_ttl,
                denied_ttl: authorization_webhook_cache_unauthorized_ttl,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        access: Access,
    }

    fn config(flags: &[&str]) -> Result<access::Config, clap::Error> {
        Cli::try_parse_from([&["vk-host"], flags].concat()).map(|cli| cli.access.into_config())
    }

    #[test]
    fn nobody_in_particular_is_refused_unless_asked_for() {
        let anonymous = |flags: &[&str]| config(flags).unwrap().authentication.anonymous;
        assert!(!anonymous(&[]) && !anonymous(&["--anonymous-auth=false"]));
        assert!(anonymous(&["--anonymous-auth"]) && anonymous(&["--anonymous-auth=true"]));
        assert!(config(&["--anonymous-auth=maybe"]).is_err());
        let tokens = |flags: &[&str]| config(flags).unwrap().authentication.tokens;
        assert!(tokens(&[]) && !tokens(&["--authentication-token-webhook=false"]));
    }

    #[test]
    fn times_are_the_kubelet_s_and_each_flag_sets_its_own() {
        let times = |flags: &[&str]| {
            let access::Config { authentication, authorization } = config(flags).unwrap();
            [authentication.token_ttl, authorization.allowed_ttl, authorization.denied_ttl].map(|time| time.as_secs())
        };
        assert_eq!(times(&[]), [120, 300, 30]);
        // Go's own way to write a duration.
        assert_eq!(times(&["--authentication-token-webhook-cache-ttl=2m10s"]), [130, 300, 30]);
        assert_eq!(times(&["--authorization-webhook-cache-authorized-ttl", "0"]), [120, 0, 30]);
        assert_eq!(times(&["--authorization-webhook-cache-unauthorized-ttl", "1m0s"]), [120, 300, 60]);
        let error = config(&["--authorization-webhook-cache-authorized-ttl", "999999h"]).unwrap_err().to_string();
        assert!(error.contains("24h"), "{error}");
    }
}
