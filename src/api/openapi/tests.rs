use std::collections::BTreeSet;

use super::*;
use crate::api::accounts::Accounts;
use crate::api::agent_tokens::AgentTokens;
use crate::api::allowlist_jwt::AllowlistJwt;
use crate::api::tenant_tokens::TenantTokens;
use crate::telemetry::configured::CallKind;

const FACES: [&dyn Face; 4] = [&AllowlistJwt, &TenantTokens, &AgentTokens, &Accounts];

fn all() -> Value {
    let mounts =
        ["/jarvispy/{organization}/{username}/api/v1", "/api/v1", "/api/agent-tokens", "/v1/auth"];
    let names = ["jarvispy", "platform", "agents", "accounts"];
    let token_apis: Vec<_> =
        (0..4).map(|at| Mounted { name: names[at], mount: mounts[at], face: FACES[at] }).collect();
    document(&token_apis)
}

/// Every member with this name, wherever it is.
fn find<'a>(name: &str, within: &'a Value, found: &mut Vec<&'a Value>) {
    match within {
        Value::Object(members) => {
            for (known, value) in members {
                if known == name {
                    found.push(value);
                }
                find(name, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find(name, item, found)),
        _ => {}
    }
}

#[test]
fn every_call_of_every_face_is_described_and_no_other() {
    for face in FACES {
        let bare = |path: &'static str| path.strip_suffix('/').unwrap_or(path);
        let described: BTreeSet<_> =
            face.describe().iter().map(|call| (bare(call.path), call.method.to_string())).collect();
        let methods = |path| face.allowed(path).split(", ").filter(|method| *method != "HEAD");
        let known: BTreeSet<_> = face
            .paths()
            .iter()
            .flat_map(|(path, _)| methods(path).map(|method| (bare(path), method.to_owned())))
            .collect();
        assert_eq!(described, known);
        for call in face.describe() {
            assert!(!face.allowed(call.path).is_empty(), "{}", call.path);
            assert_ne!(face.call_kind(&call.method, call.path), CallKind::Other, "{}", call.id);
            let named: Vec<_> = mount_parameters(call.path).collect();
            assert_eq!(
                call.parameters.iter().map(|parameter| parameter.name).collect::<Vec<_>>(),
                named
            );
        }
    }
}

#[test]
fn what_is_referred_to_is_there_and_no_name_is_there_twice() {
    let document = all();
    let mut references = Vec::new();
    find("$ref", &document, &mut references);
    assert!(references.len() > 50);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let used: BTreeSet<_> = references
        .iter()
        .filter_map(|name| name.as_str()?.strip_prefix("#/components/schemas/"))
        .collect();
    assert_eq!(used, schemas.keys().map(String::as_str).collect());
    let mut ids = Vec::new();
    find("operationId", &document, &mut ids);
    assert_eq!(ids.len(), 21);
    let ids: BTreeSet<_> = ids.into_iter().map(Value::to_string).collect();
    assert_eq!(ids.len(), 21);
}

#[test]
fn the_call_of_the_seed_is_there_word_by_word() {
    let document = all();
    let call = &document["paths"]["/api/v1/{tenant_id}/tokens/"]["post"];
    assert_eq!(call["summary"], "Create API Token");
    assert_eq!(call["security"], json!([{ "HTTPBearer": [] }]));
    assert_eq!(document["components"]["securitySchemes"]["HTTPBearer"]["scheme"], "bearer");
    assert_eq!(document["openapi"], "3.1.0");
    let statuses = |path: &str, method: &str| {
        let responses =
            document["paths"][path][method]["responses"].as_object().expect("responses");
        responses.keys().map(|status| status.parse().expect("a status")).collect::<Vec<u16>>()
    };
    let post = statuses("/api/v1/{tenant_id}/tokens/", "post");
    assert_eq!(post, [201, 400, 401, 403, 404, 408, 413, 414, 417, 422, 429, 431, 500, 503]);
    let rotate = statuses("/api/agent-tokens/me", "post");
    assert_eq!(
        rotate,
        [200, 400, 401, 404, 408, 413, 414, 417, 422, 429, 431, 500, 503],
        "of this style, a 503 is overload alone"
    );
    let register = statuses("/v1/auth/register", "post");
    assert_eq!(
        register,
        [200, 400, 403, 404, 408, 409, 413, 414, 415, 417, 422, 429, 431, 500, 503]
    );
    assert_eq!(document["paths"]["/v1/auth/register"]["post"]["security"], json!([]));
    let mounted =
        &document["paths"]["/jarvispy/{organization}/{username}/api/v1/auth/revoke/{jti}"]["post"];
    let mut names = Vec::new();
    find("name", &mounted["parameters"], &mut names);
    assert_eq!(names, ["organization", "username", "jti"]);
}
