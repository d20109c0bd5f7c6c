//! The provider.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{LazyLock, OnceLock},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Response;
use sha2::{Digest as _, Sha256};
use store::Clock as _;
use url::{Url, form_urlencoded};

use super::*;
use crate::{UpstreamError, UpstreamHttp};

pub(in crate::tests) const ISSUER: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Test";
pub(in crate::tests) const CLIENT_ID: &str = "1example23456789";
pub(in crate::tests) const CLIENT_SECRET: &str = "s3cr3t/+=";
const DOMAIN: &str = "https://example.auth.eu-central-1.amazoncognito.com";

/// Making RSA keys takes a moment: all tests share three.
static PAIRS: LazyLock<[KeyPair; 3]> =
    LazyLock::new(|| std::array::from_fn(|_| KeyPair::generate(KeySize::Rsa2048).unwrap()));

static CURVE: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

/// How a token is signed.
#[derive(Debug, Clone, Copy)]
pub(in crate::tests) enum Sign {
    /// By the pair of that number.
    Rs256(usize),
    /// By a key on a curve.
    Es256,
    /// Not at all.
    Nothing,
    /// By HMAC, with the public key as the secret.
    PublicKeyAsSecret,
}

/// An ID token that is about to be signed.
#[derive(Debug)]
pub(in crate::tests) struct Draft {
    pub(in crate::tests) header: Value,
    pub(in crate::tests) claims: Value,
    pub(in crate::tests) sign: Sign,
}

type Edit = Box<dyn FnOnce(&mut Draft) + Send>;

struct Code {
    user: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

#[derive(Default)]
struct State {
    codes: HashMap<String, Code>,
    refresh: BTreeMap<String, String>,
    disabled: BTreeSet<String>,
    groups: HashMap<String, Vec<String>>,
    edit: Option<Edit>,
    /// Key id → number of the pair.
    keys: Vec<(String, usize)>,
    calls: Vec<String>,
    revoked: Vec<String>,
    down: bool,
    discovery: Option<(String, String)>,
    codes_given: u32,
    rotating: bool,
}

pub(in crate::tests) struct Op {
    clock: OnceLock<Arc<ManualClock>>,
    state: Mutex<State>,
}

impl Op {
    pub(in crate::tests) fn new() -> Self {
        let keys = vec![("id+key/1=".to_owned(), 0), ("access+key/1=".to_owned(), 1)];
        Self { clock: OnceLock::new(), state: Mutex::new(State { keys, ..State::default() }) }
    }

    pub(in crate::tests) fn follow(&self, clock: Arc<ManualClock>) {
        let _ = self.clock.set(clock);
    }

    /// Changes the next ID token.
    pub(in crate::tests) fn tamper(&self, edit: impl FnOnce(&mut Draft) + Send + 'static) {
        self.state.lock().edit = Some(Box::new(edit));
    }

    pub(in crate::tests) fn set_groups(&self, user: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.state.lock().groups.insert(user.to_owned(), groups);
    }

    pub(in crate::tests) fn disable(&self, user: &str) {
        self.state.lock().disabled.insert(user.to_owned());
    }

    pub(in crate::tests) fn enable(&self, user: &str) {
        self.state.lock().disabled.remove(user);
    }

    pub(in crate::tests) fn set_down(&self, down: bool) {
        self.state.lock().down = down;
    }

    /// Announces something else.
    pub(in crate::tests) fn announce(&self, name: &str, value: &str) {
        self.state.lock().discovery = Some((name.to_owned(), value.to_owned()));
    }

    /// From now on refresh tokens are good once.
    pub(in crate::tests) fn rotate_refresh_tokens(&self) {
        self.state.lock().rotating = true;
    }

    /// Publishes a key in place of those before.
    pub(in crate::tests) fn publish(&self, kid: &str, pair: usize) {
        self.state.lock().keys = vec![(kid.to_owned(), pair)];
    }

    /// How often something was asked for whose address ends like this.
    pub(in crate::tests) fn calls(&self, end: &str) -> usize {
        self.state.lock().calls.iter().filter(|call| call.ends_with(end)).count()
    }

    pub(in crate::tests) fn revoked(&self) -> Vec<String> {
        self.state.lock().revoked.clone()
    }

    fn now(&self) -> u64 {
        self.clock.get().unwrap().now_ms() / 1000
    }

    /// What the provider's pages do: somebody logs in there, and is sent back.
    pub(in crate::tests) fn authorize(&self, url: &str, user: &str) -> String {
        assert!(url.starts_with(&format!("{DOMAIN}/oauth2/authorize?")), "{url}");
        let url = Url::parse(url).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((&*query["response_type"], &*query["client_id"]), ("code", CLIENT_ID));
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        let mut state = self.state.lock();
        state.codes_given += 1;
        let code = format!("code-{}", state.codes_given);
        let issued = Code {
            user: user.to_owned(),
            nonce: query["nonce"].clone(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
        };
        state.codes.insert(code.clone(), issued);
        format!("{}?code={code}&state={}", query["redirect_uri"], query["state"])
    }

    /// An ID token, as it would come with an access token.
    pub(in crate::tests) fn id_token(&self, user: &str, nonce: Option<&str>, access: &str) -> String {
        let now = self.now();
        let mut state = self.state.lock();
        let hash = Sha256::digest(access);
        let mut claims = json!({
            "iss": ISSUER, "aud": CLIENT_ID, "sub": format!("sub-of-{user}"), "token_use": "id",
            "cognito:username": user, "email": format!("{user}@example.com"), "email_verified": true, "name": format!("{user} Müller"),
            "at_hash": URL_SAFE_NO_PAD.encode(&hash[..16]), "iat": now, "auth_time": now, "exp": now + 3600,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        if let Some(groups) = state.groups.get(user).filter(|groups| !groups.is_empty()) {
            claims["cognito:groups"] = json!(groups);
        }
        let header = json!({ "alg": "RS256", "kid": "id+key/1=" });
        let mut draft = Draft { header, claims, sign: Sign::Rs256(0) };
        if let Some(edit) = state.edit.take() {
            edit(&mut draft);
        }
        sign(&draft)
    }

    /// An access token: signed by the same provider, and no ID token.
    fn access_token(&self, user: &str) -> String {
        let now = self.now();
        let claims = json!({
            "iss": ISSUER, "client_id": CLIENT_ID, "sub": format!("sub-of-{user}"), "token_use": "access", "iat": now,
            "exp": now + 3600, "username": user,
        });
        sign(&Draft { header: json!({ "alg": "RS256", "kid": "access+key/1=" }), claims, sign: Sign::Rs256(1) })
    }

    fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, UpstreamError> {
        let url = request.uri().to_string();
        {
            let mut state = self.state.lock();
            state.calls.push(url.clone());
            if state.down {
                return Err(UpstreamError::Timeout);
            }
        }
        let found = match url.as_str() {
            _ if url == format!("{ISSUER}/.well-known/openid-configuration") => (200, self.discovery()),
            _ if url == format!("{ISSUER}/.well-known/jwks.json") => (200, self.key_set()),
            _ if url == format!("{DOMAIN}/oauth2/token") => self.token(&request),
            _ if url == format!("{DOMAIN}/oauth2/revoke") => self.revoke(&request),
            _ => (404, json!({ "message": "not found" })),
        };
        Ok(Response::builder().status(found.0).body(found.1.to_string().into()).unwrap())
    }

    fn discovery(&self) -> Value {
        let mut document = discovery();
        if let Some((name, value)) = &self.state.lock().discovery {
            document[name] = value.as_str().into();
        }
        document
    }

    fn key_set(&self) -> Value {
        let keys = self.state.lock().keys.clone();
        let key = |(kid, pair): &(String, usize)| {
            let public = PAIRS[*pair].public_key();
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let (n, e) = (
                public.modulus().big_endian_without_leading_zero(),
                public.exponent().big_endian_without_leading_zero(),
            );
            json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": part(n), "e": part(e) })
        };
        let mut keys: Vec<Value> = keys.iter().map(key).collect();
        let point = CURVE.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        keys.push(json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "curve", "x": x, "y": y }));
        keys.insert(0, json!({ "kty": "a kind of the future", "kid": "x" }));
        json!({ "keys": keys })
    }

    fn form(request: &Request<Bytes>) -> Option<HashMap<String, String>> {
        let form = form_urlencoded::parse(request.body()).into_owned().collect();
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET)));
        let given = request.headers().get(header::AUTHORIZATION)?;
        (given.to_str().unwrap() == format!("Basic {pair}")).then_some(form)
    }

    fn token(&self, request: &Request<Bytes>) -> (u16, Value) {
        let Some(form) = Self::form(request) else { return (401, json!({ "error": "invalid_client" })) };
        let refused = (400, json!({ "error": "invalid_grant" }));
        let (user, nonce, refresh) = match form["grant_type"].as_str() {
            "authorization_code" => {
                let Some(code) = self.state.lock().codes.remove(&form["code"]) else { return refused };
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
                if challenge != code.challenge || form["redirect_uri"] != code.redirect_uri {
                    return refused;
                }
                let refresh = format!("refresh-{}", form["code"]);
                self.state.lock().refresh.insert(refresh.clone(), code.user.clone());
                (code.user, Some(code.nonce), Some(refresh))
            }
            "refresh_token" => {
                let mut state = self.state.lock();
                let user = state.refresh.get(&form["refresh_token"]).cloned();
                let Some(user) = user.filter(|user| !state.disabled.contains(user)) else { return refused };
                let next = state.rotating.then(|| format!("{}+", form["refresh_token"]));
                if let Some(next) = &next {
                    state.refresh.remove(&form["refresh_token"]);
                    state.refresh.insert(next.clone(), user.clone());
                }
                (user, None, next)
            }
            _ => return (400, json!({ "error": "unsupported_grant_type" })),
        };
        let access = self.access_token(&user);
        let id_token = self.id_token(&user, nonce.as_deref(), &access);
        let mut answer =
            json!({ "access_token": access, "id_token": id_token, "token_type": "Bearer", "expires_in": 3600 });
        if let Some(refresh) = refresh {
            answer["refresh_token"] = refresh.into();
        }
        (200, answer)
    }

    fn revoke(&self, request: &Request<Bytes>) -> (u16, Value) {
        let Some(form) = Self::form(request) else { return (401, json!({ "error": "invalid_client" })) };
        let mut state = self.state.lock();
        state.refresh.remove(&form["token"]);
        state.revoked.push(form["token"].clone());
        (200, Value::Null)
    }
}

impl UpstreamHttp for Op {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, UpstreamError>> {
        async move { self.answer(request) }.boxed()
    }
}

/// Like the real one: nothing of PKCE, and endpoints on another host.
fn discovery() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{DOMAIN}/oauth2/authorize"),
        "token_endpoint": format!("{DOMAIN}/oauth2/token"),
        "revocation_endpoint": format!("{DOMAIN}/oauth2/revoke"),
        "end_session_endpoint": format!("{DOMAIN}/logout"),
        "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

fn sign(draft: &Draft) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&draft.header), part(&draft.claims));
    let signature = match draft.sign {
        Sign::Nothing => Vec::new(),
        Sign::Es256 => CURVE.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        Sign::Rs256(pair) => {
            let pair = &PAIRS[pair];
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
            signature
        }
        Sign::PublicKeyAsSecret => {
            let mut mac = Hmac::<Sha256>::new_from_slice(PAIRS[0].public_key().as_ref()).unwrap();
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
