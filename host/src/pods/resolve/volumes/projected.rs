//! Projected volumes: several sources in one directory, tokens among them. (kubernetes/pkg/volume/projected)

use k8s_openapi::api::core::v1::{ProjectedVolumeSource, ServiceAccountTokenProjection, VolumeProjection};

use super::super::token::{Failure, Wanted};
use super::{Context, Drawn, Error, Source, What, config, wrong_path};

/// What the API server gives a token that no life is told for, in seconds.
const TOKEN_SECONDS: i64 = 3600;

/// The sources of a volume whose place in the pod is `volume`.
pub(super) fn sources<'a>(volume: &str, projected: &'a ProjectedVolumeSource) -> Vec<Source<'a>> {
    let sources = projected.sources.iter().flatten().enumerate();
    sources
        .filter_map(|(index, source)| {
            let (kind, what) = kind(source)?;
            Some(Source { field: format!("{volume}.projected.sources[{index}].{kind}"), what })
        })
        .collect()
}

/// none: it says nothing.
fn kind(source: &VolumeProjection) -> Option<(&'static str, What<'_>)> {
    let VolumeProjection {
        cluster_trust_bundle,
        config_map,
        downward_api,
        pod_certificate,
        secret,
        service_account_token,
    } = source;
    let config_map = config_map.as_ref().map(|source| {
        let object = config::Object::of_config_map_projection(source);
        ("configMap", What::Object(object))
    });
    let secret = secret.as_ref().map(|source| {
        let object = config::Object::of_secret_projection(source);
        ("secret", What::Object(object))
    });
    let fields = downward_api.as_ref().map(|source| {
        let items = source.items.as_deref().unwrap_or_default();
        ("downwardAPI", What::Fields(items))
    });
    let token = service_account_token.as_ref().map(|source| ("serviceAccountToken", What::Token(source)));
    let bundle = cluster_trust_bundle.as_ref().map(|source| {
        let optional = source.optional.unwrap_or(false);
        ("clusterTrustBundle", What::Unserved { optional })
    });
    let certificate = pod_certificate.as_ref().map(|_| ("podCertificate", What::Unserved { optional: false }));
    config_map.or(secret).or(fields).or(token).or(bundle).or(certificate)
}

/// The token that a source asks for.
pub(super) fn wanted(source: &ServiceAccountTokenProjection) -> Wanted {
    Wanted {
        audience: source.audience.clone().unwrap_or_default(),
        seconds: source.expiration_seconds.unwrap_or(TOKEN_SECONDS),
    }
}

/// Puts a token's file.
pub(super) fn draw(
    source: &ServiceAccountTokenProjection,
    field: &str,
    context: &Context<'_>,
    drawn: &mut Drawn,
) -> Result<(), Error> {
    let token = match context.found.tokens.get(&wanted(source)) {
        Some(Ok(token)) => token.clone(),
        // The kubelet's words.
        Some(Err(Failure::Refused(cause))) => return Err(Error::Missing(format!("failed to fetch token: {cause}"))),
        Some(Err(Failure::Unreached(cause))) => return Err(Error::Unread(format!("failed to fetch token: {cause}"))),
        None => return Err(Error::Unread("failed to fetch token: it was not asked for".into())),
    };
    let access = drawn.owner.private(drawn.mode);
    let put = drawn.tree.put(&source.path, access, token.text.clone(), true);
    put.map_err(|wrong| wrong_path(format!("{field}.path"), &source.path, wrong))?;
    drawn.tokens.push(token);
    Ok(())
}
