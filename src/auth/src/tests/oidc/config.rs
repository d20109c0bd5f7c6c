use super::*;

fn refusal(change: impl FnOnce(&mut AuthConfig)) -> String {
    let mut config = sso_config();
    change(&mut config);
    let upstream = UpstreamParts { http: Arc::new(Op::new()), seal_key: [7; 32] };
    match parts_with(config, Some(upstream)) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

fn refusal_of(options: Value) -> String {
    refusal(|config| config.oidc = vec![provider(options)])
}

#[test]
fn providers_that_cannot_work_are_refused_by_the_name_of_the_option() {
    for (options, words) in [
        (json!({ "id": "" }), "id: it has 1 to 64"),
        (json!({ "id": "a/b" }), "id: it has 1 to 64"),
        (json!({ "id": ".." }), "id: it has 1 to 64"),
        (json!({ "name": " " }), "name: it is empty"),
        (json!({ "client_id": "" }), "client_id: it is empty"),
        (json!({ "brand": "Amazon!" }), "brand: "),
        (json!({ "issuer": "http://id.example" }), "must begin with https://"),
        (json!({ "issuer": "nonsense" }), "issuer: nonsense"),
        (json!({ "issuer": "https://id.example?x" }), "no query"),
        (json!({ "issuer": "https://me@id.example" }), "no user name"),
        (json!({ "scopes": ["email"] }), "without `openid`"),
        (json!({ "algorithms": [] }), "algorithms: it is empty"),
        (json!({ "algorithms": ["RS256", "HS256"] }), "no HS256"),
        (json!({ "recheck_seconds": 59 }), "at least 60"),
        (json!({ "client_secret": "" }), "client_secret: it is empty"),
        (json!({ "client_secret_file": "x" }), "choose one"),
        (
            json!({ "client_secret": null, "client_secret_file": "/nonexistent/x" }),
            "client_secret_file: /nonexistent/x",
        ),
        (json!({ "client_secret": null, "client_auth": "post" }), "no secret to send"),
        (json!({ "logout_url": "ftp://x" }), "logout_url: "),
    ] {
        let text = refusal_of(options.clone());
        assert!(text.contains(words) && text.contains("auth.oidc"), "{options}: {text}");
    }
}

#[test]
fn what_concerns_all_providers_is_refused_too() {
    let twice = |options: Value| refusal(|config| config.oidc.push(provider(options)));
    assert!(twice(json!({ "issuer": "https://other.example" })).contains("id: another provider has it"));
    assert!(twice(json!({ "id": "other" })).contains("issuer: another provider has it"));
    assert!(refusal(|config| config.public_base_url = None).contains("needs client_api.public_base_url"));
    assert!(refusal(|config| config.public_base_url = Some("http://x.org".to_owned())).contains("https://"));
    assert!(refusal(|config| config.sso.token_seconds = 0).contains("auth.sso.token_seconds"));
    let bad = refusal(|config| config.sso.trusted_redirects = vec!["javascript:x".to_owned()]);
    assert!(bad.contains("auth.sso.trusted_redirects: javascript:x"));
    assert!(parts(sso_config()).is_err(), "there is no network");
}

#[test]
fn a_secret_can_be_in_a_file() {
    let path = std::env::temp_dir().join(format!("cliquepay-secret-{}", std::process::id()));
    std::fs::write(&path, "\n").unwrap();
    let options = json!({ "client_secret": null, "client_secret_file": path });
    assert!(refusal_of(options.clone()).contains("client_secret: it is empty"));
    std::fs::write(&path, "s3cr3t\n").unwrap();
    let mut config = sso_config();
    config.oidc = vec![provider(options)];
    let upstream = UpstreamParts { http: Arc::new(Op::new()), seal_key: [7; 32] };
    assert!(parts_with(config, Some(upstream)).is_ok());
    std::fs::remove_file(&path).unwrap();
}
