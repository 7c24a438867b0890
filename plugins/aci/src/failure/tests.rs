//! What Azure's words mean.

use vk_provider::{Code, Effect, Error};

use super::*;
use crate::secrets::Secrets;

fn refusal(status: u16, code: &str, message: &str, writes: bool) -> Refusal {
    Refusal {
        request: "PUT …/web".to_owned(),
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        target: None,
        retry_after: None,
        effect: Effect::None,
        request_id: None,
        writes,
    }
}

#[test]
fn the_right_that_is_missing_is_named() {
    let of = |path: &str| {
        let request = format!("GET https://management.azure.com/subscriptions/s/{path}");
        Refusal { request, ..refusal(403, "AuthorizationFailed", "no", false) }.to_string()
    };
    let group = of("resourceGroups/g/providers/Microsoft.ContainerInstance/containerGroups/web");
    assert!(group.contains("Microsoft.ContainerInstance/containerGroups/* on the resource group"), "{group}");
    let operation = of("providers/Microsoft.ContainerInstance/locations/westeurope/operations/1");
    assert!(operation.contains("Microsoft.ContainerInstance/locations/*/read on the subscription"), "{operation}");
}

#[test]
fn what_ends_a_pod_and_what_is_tried_again() {
    use Code::{
        Aborted, AlreadyExists, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied,
        ResourceExhausted, Unauthenticated, Unavailable, Unknown,
    };
    let location = "The requested resource is not available in the location 'westus' at this moment. Resource requested: '4' CPU '16' GB memory";
    for (status, code, message, expected, reason) in [
        (400, "ContainerGroupQuotaReached", "x", ResourceExhausted, "ContainerGroupQuotaReached"),
        (409, "ContainerGroupQuotaReached", "x", ResourceExhausted, "ContainerGroupQuotaReached"),
        (403, "QuotaExceeded", "x", ResourceExhausted, "QuotaExceeded"),
        (
            409,
            "OperationNotAllowed",
            "exceeding approved Total Regional Cores quota",
            ResourceExhausted,
            "OperationNotAllowed",
        ),
        (
            409,
            "OperationNotAllowed",
            "exceeding approved StandardCores Quota",
            ResourceExhausted,
            "OperationNotAllowed",
        ),
        (409, "OperationNotAllowed", "the group is stopped", Aborted, "OperationNotAllowed"),
        (409, "ServiceUnavailable", location, ResourceExhausted, "InsufficientCapacity"),
        (503, "ServiceUnavailable", "try later", Unavailable, "ServiceUnavailable"),
        (409, "SkuNotAvailable", "x", ResourceExhausted, "SkuNotAvailable"),
        (403, "RequestDisallowedByPolicy", "x", PermissionDenied, "RequestDisallowedByPolicy"),
        (403, "AuthorizationFailed", "x", PermissionDenied, "AuthorizationFailed"),
        (403, "", "x", PermissionDenied, "AzureForbidden"),
        (401, "InvalidAuthenticationToken", "x", Unauthenticated, "InvalidAuthenticationToken"),
        (401, "", "x", Unauthenticated, "AzureUnauthenticated"),
        (409, "MissingSubscriptionRegistration", "x", FailedPrecondition, "MissingSubscriptionRegistration"),
        (404, "ResourceGroupNotFound", "x", FailedPrecondition, "ResourceGroupNotFound"),
        (409, "ResourceGroupBeingDeleted", "x", FailedPrecondition, "ResourceGroupBeingDeleted"),
        (400, "LocationNotAvailableForResourceType", "x", FailedPrecondition, "LocationNotAvailableForResourceType"),
        (400, "InvalidApiVersionParameter", "x", FailedPrecondition, "InvalidApiVersionParameter"),
        (400, "SubnetMissingRequiredDelegation", "x", FailedPrecondition, "SubnetMissingRequiredDelegation"),
        (400, "InaccessibleImage", "x", FailedPrecondition, "InaccessibleImage"),
        (400, "KeyVaultAccessDenied", "x", FailedPrecondition, "KeyVaultAccessDenied"),
        (400, "KeyNotFound", "x", FailedPrecondition, "KeyNotFound"),
        (400, "InvalidEncryptionProperties", "x", FailedPrecondition, "InvalidEncryptionProperties"),
        (400, "ManagedIdentityNotFound", "x", FailedPrecondition, "ManagedIdentityNotFound"),
        (409, "RegistryErrorResponse", "x", Unavailable, "RegistryErrorResponse"),
        (409, "InvalidResourceLocation", "x", AlreadyExists, "InvalidResourceLocation"),
        (404, "ResourceNotFound", "x", NotFound, "ResourceNotFound"),
        (404, "", "x", FailedPrecondition, "AzureSetup"),
        (408, "", "x", DeadlineExceeded, "AzureTimedOut"),
        (409, "ContainerGroupTransitioning", "x", Aborted, "ContainerGroupTransitioning"),
        (412, "PreconditionFailed", "x", Aborted, "PreconditionFailed"),
        (429, "", "x", ResourceExhausted, "AzureThrottled"),
        (429, "OperationThrottled", "x", ResourceExhausted, "OperationThrottled"),
        (500, "InternalServerError", "x", Unavailable, "InternalServerError"),
        (502, "", "x", Unavailable, "AzureUnavailable"),
        (302, "", "x", Unknown, "AzureUnknown"),
        // A proxy says nothing of the pod.
        (400, "", "bad gateway", FailedPrecondition, "AzureSetup"),
        (400, "InvalidContainerName", "x", InvalidArgument, "InvalidContainerName"),
        (400, "invalid; code", "x", InvalidArgument, "AzureInvalidRequest"),
        (413, "RequestContentTooLarge", "x", InvalidArgument, "RequestContentTooLarge"),
    ] {
        let error = Error::from(Failure::Refused(Box::new(refusal(status, code, message, true))));
        assert_eq!((error.code, error.reason.as_ref()), (expected, reason), "{status} {code}");
        assert_eq!(error.field, None, "a precondition with a field would end the pod");
        assert!(error.message.contains(message) && error.message.contains(code), "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_question_is_not_wrong_with_the_pod() {
    let mut invalid = refusal(400, "InvalidContainerName", "x", false);
    invalid.target = Some("containerName".to_owned());
    let error = Error::from(Failure::Refused(Box::new(invalid.clone())));
    assert_eq!((error.code, error.field), (Code::FailedPrecondition, None));
    invalid.writes = true;
    let error = Error::from(Failure::Refused(Box::new(invalid)));
    assert_eq!((error.code, error.field.as_deref()), (Code::InvalidArgument, Some("containerName")));
}

#[test]
fn what_an_operator_can_mend_says_how() {
    for (status, code, says) in [
        (409, "MissingSubscriptionRegistration", "az provider register --namespace Microsoft.ContainerInstance"),
        (404, "ResourceGroupNotFound", "az group create"),
        (403, "AuthorizationFailed", "Microsoft.ContainerInstance/containerGroups/*"),
    ] {
        let told = refusal(status, code, "x", true).to_string();
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn the_most_specific_code_counts() {
    let inner = r#"{\r\n  \"error\": {\r\n \"code\": \"SubnetMissingRequiredDelegation\",\r\n \"message\": \"Subnet missing required delegation.\"\r\n }\r\n}"#;
    let nested = format!(
        r#"{{"status":"Failed","error":{{"code":"DeploymentFailed","message":"At least one failed.","target":"t",
           "details":[{{"code":"BadRequest","message":"{inner}"}}]}}}}"#
    );
    for (body, code, message, target) in [
        (r#"{"error":{"code":"A","message":"b","target":"c"}}"#, "A", "b", Some("c")),
        (r#"{"code":"A","message":"b"}"#, "A", "b", None),
        (
            r#"{"error":{"code":"BadRequest","message":"m","details":[{"code":"InnerCode","message":"inner","target":"x"}]}}"#,
            "InnerCode",
            "inner",
            Some("x"),
        ),
        // A word of its own is more than what only explains it.
        (
            r#"{"error":{"code":"RequestDisallowedByPolicy","message":"m","details":[{"code":"PolicyViolation","message":"p"}]}}"#,
            "RequestDisallowedByPolicy",
            "m",
            None,
        ),
        (
            r#"{"error":{"code":"DeploymentFailed","message":"m","details":[{"code":"","message":"x"}]}}"#,
            "DeploymentFailed",
            "m",
            None,
        ),
        (r#"{"error":{"code":"BadRequest","message":"m","details":null}}"#, "BadRequest", "m", None),
        (r#"{"error":{"code":400,"message":null,"details":["x"]}}"#, "400", "", None),
        (r#"{"error":{"code":"A","message":"b","target":{"field":"c"}}}"#, "A", "b", None),
        (r#"{"error":{"code":"A","message":"b","details":{"x":"c"}}}"#, "A", "b", None),
        (&nested, "SubnetMissingRequiredDelegation", "Subnet missing required delegation.", Some("t")),
        ("too many\n requests", "", "too many requests", None),
        (r#"{"error":"no"}"#, "", "no reason is given", None),
        ("<html>no</html>", "", "no reason is given", None),
        ("[1]", "", "no reason is given", None),
        ("", "", "no reason is given", None),
    ] {
        let Detail { code: found, message: said, target: at, .. } =
            Detail::parse(body.as_bytes()).told(&Secrets::default());
        assert_eq!((found.as_str(), said.as_str(), at.as_deref()), (code, message, target), "{body}");
    }
    let deep = |levels: usize| {
        let inner = (0..levels).fold(r#"{"code":"Innermost","message":"m"}"#.to_owned(), |inner, _| {
            format!(r#"{{"code":"BadRequest","message":"m","details":[{inner}]}}"#)
        });
        Detail::parse(format!(r#"{{"error":{inner}}}"#).as_bytes()).told(&Secrets::default()).code
    };
    assert_eq!((deep(7).as_str(), deep(30).as_str()), ("Innermost", "BadRequest"));
    assert_eq!(deep(1000), "", "as deep as nobody writes it");
    let long = Detail { message: "é".repeat(10_000), ..Detail::default() };
    assert!(long.told(&Secrets::default()).message.len() <= 600);
}
