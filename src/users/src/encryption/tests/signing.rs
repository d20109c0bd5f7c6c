//! Cross-signing keys and signatures.

use ruma::{OwnedUserId, UserId};
use serde_json::{Value, json};

use super::{device, device_keys, object, user};
use crate::{
    UsersError,
    devices::NewDevice,
    encryption::{CrossSigningKeys, Object, Upload, Viewer, objects::add_signature},
    testing::{Bench, json as raw, tokens},
};

/// A key that signs.
struct Signing(ruma::signatures::Ed25519KeyPair);

impl Signing {
    fn new() -> Self {
        let document = ruma::signatures::Ed25519KeyPair::generate();
        Self(ruma::signatures::Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap())
    }

    fn id(&self) -> String {
        ruma::serde::Base64::<ruma::serde::base64::Standard, _>::new(self.0.public_key().to_vec()).encode()
    }

    fn key(&self, user_id: &UserId, usage: &str) -> Object {
        let id = self.id();
        object(json!({"user_id": user_id, "usage": [usage], "keys": {format!("ed25519:{id}"): id}}))
    }

    /// The object with a signature by this key.
    fn signed(&self, object: &Object, user_id: &UserId, key_id: &str) -> Object {
        let canonical = serde_json::from_value(Value::Object(object.clone())).unwrap();
        let text = ruma::signatures::to_canonical_json_string_for_signing(&canonical).unwrap();
        let signature = ruma::signatures::KeyPair::sign(&self.0, text.as_bytes()).base64();
        let mut object = object.clone();
        add_signature(&mut object, user_id.as_str(), &format!("ed25519:{key_id}"), &signature);
        object
    }
}

fn only_master(key: &Object) -> CrossSigningKeys {
    CrossSigningKeys { master: Some(key.clone()), ..CrossSigningKeys::default() }
}

#[tokio::test]
async fn keys_of_users_are_signed_by_the_master_key_and_new_ones_have_to_be_confirmed() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, ann_id) = user(&users, "ann").await;
    let (master, own) = (Signing::new(), Signing::new());
    let signing = &users.cross_signing;
    let self_signing = own.key(&ann_id, "self_signing");
    let alone = CrossSigningKeys { self_signing: Some(self_signing.clone()), ..CrossSigningKeys::default() };
    assert!(matches!(signing.upload(ann, &ann_id, alone.clone()).await, Err(UsersError::NoMasterKey)));
    let first = only_master(&master.key(&ann_id, "master"));
    assert!(!signing.needs_confirmation(ann, &first).await.unwrap());
    let before = users.core.db.frontier();
    signing.upload(ann, &ann_id, first.clone()).await.unwrap();
    let changes = async |from| users.device_lists.changes(ann, from, users.core.db.frontier()).await.unwrap();
    assert_eq!(changes(before).await, [(ann, true)]);
    // The same again is nothing new.
    let before = users.core.db.frontier();
    assert!(!signing.needs_confirmation(ann, &first).await.unwrap());
    signing.upload(ann, &ann_id, first.clone()).await.unwrap();
    assert_eq!(changes(before).await, []);
    assert!(signing.needs_confirmation(ann, &alone).await.unwrap());
    assert!(signing.needs_confirmation(ann, &only_master(&own.key(&ann_id, "master"))).await.unwrap());
    assert!(matches!(signing.upload(ann, &ann_id, alone).await, Err(UsersError::InvalidSignature)));
    let right = master.signed(&self_signing, &ann_id, &master.id());
    let signed = CrossSigningKeys { self_signing: Some(right.clone()), ..CrossSigningKeys::default() };
    signing.upload(ann, &ann_id, signed).await.unwrap();
    let wrong_usage = only_master(&own.key(&ann_id, "self_signing"));
    assert!(matches!(signing.upload(ann, &ann_id, wrong_usage).await, Err(UsersError::BadKey(_))));
    // A device and a key are not called the same, whichever was there first.
    let new = NewDevice { device_id: own.id().into(), display_name: None, tokens: tokens("like-a-key") };
    assert!(matches!(users.devices.create(ann, &new).await, Err(UsersError::KeyIdInUse)));
    let service = users.devices.create_without_tokens(ann, &new.device_id, None).await;
    assert!(matches!(service, Err(UsersError::KeyIdInUse)));
    let other = Signing::new();
    device(&users, ann, &other.id()).await;
    let taken = only_master(&other.key(&ann_id, "master"));
    assert!(matches!(signing.upload(ann, &ann_id, taken).await, Err(UsersError::KeyIdInUse)));
    let keys = users.keys.of_user(ann, &ann_id, &[], None).await.unwrap();
    assert_eq!((keys.master, keys.self_signing, keys.user_signing), (first.master, Some(right), None));
}

#[tokio::test]
async fn signatures_are_checked_and_shown_to_those_whom_they_concern() {
    let bench = Bench::new();
    let users = bench.users();
    let ((ann, ann_id), (bob, bob_id)) = (user(&users, "ann").await, user(&users, "bob").await);
    let (master, own, others, bobs) = (Signing::new(), Signing::new(), Signing::new(), Signing::new());
    let phone = device(&users, ann, "P").await;
    let keys = device_keys(&ann_id, "P", "x");
    let upload = Upload { device_keys: Some(keys.clone()), ..Upload::default() };
    users.keys.upload(ann, &ann_id, &phone, upload).await.unwrap();
    let by_master = |key: Object| Some(master.signed(&key, &ann_id, &master.id()));
    let signing = &users.cross_signing;
    let all = CrossSigningKeys {
        master: Some(master.key(&ann_id, "master")),
        self_signing: by_master(own.key(&ann_id, "self_signing")),
        user_signing: by_master(others.key(&ann_id, "user_signing")),
    };
    signing.upload(ann, &ann_id, all).await.unwrap();
    let bobs_master = bobs.key(&bob_id, "master");
    signing.upload(bob, &bob_id, only_master(&bobs_master)).await.unwrap();

    let start = users.core.db.frontier();
    let signed_phone = own.signed(&keys, &ann_id, &own.id());
    let signed_bob = others.signed(&bobs_master, &ann_id, &others.id());
    let mut changed = signed_phone.clone();
    changed.insert("algorithms".to_owned(), json!([]));
    let forged = own.signed(&keys, &ann_id, &others.id());
    let send = async |owner: &OwnedUserId, id: &str, object: &Object| {
        let body = [(owner.clone(), [(id.to_owned(), Value::Object(object.clone()))].into())].into();
        signing.upload_signatures(ann, &ann_id, body).await.unwrap().len()
    };
    assert_eq!(send(&ann_id, "P", &changed).await, 1);
    assert_eq!(send(&ann_id, "P", &forged).await, 1);
    assert_eq!(send(&ann_id, "NOPE", &signed_phone).await, 1);
    assert_eq!(users.core.db.frontier(), start);
    assert_eq!(send(&ann_id, "P", &signed_phone).await, 0);
    assert_eq!(send(&bob_id, &bobs.id(), &signed_bob).await, 0);
    let end = users.core.db.frontier();
    let seen = users.device_lists.changes(bob, start, end).await.unwrap();
    assert_eq!(seen, [(ann, false)], "what Ann thinks of Bob is hers");
    assert!(users.device_lists.changes(ann, start, end).await.unwrap().contains(&(bob, true)));

    let key = |id: String| format!("ed25519:{id}");
    let (anns, bobs_view) = (Viewer { user: ann, user_id: &ann_id }, Viewer { user: bob, user_id: &bob_id });
    for viewer in [Some(anns), Some(bobs_view), None] {
        let found = users.keys.of_user(ann, &ann_id, &[], viewer).await.unwrap();
        assert!(found.devices["P"]["signatures"][ann_id.as_str()][key(own.id())].is_string());
        let found = users.keys.of_user(bob, &bob_id, &[], viewer).await.unwrap().master.unwrap();
        let hers = viewer.is_some_and(|viewer| viewer.user == ann);
        assert_eq!(found.get("signatures").is_some_and(|all| all[ann_id.as_str()][key(others.id())].is_string()), hers);
    }
    assert!(users.keys.of_user(ann, &ann_id, &[], Some(anns)).await.unwrap().user_signing.is_some());
    assert!(users.keys.of_user(ann, &ann_id, &[], Some(bobs_view)).await.unwrap().user_signing.is_none());
}

#[tokio::test]
async fn keys_and_backups_go_with_the_account() {
    let bench = Bench::new();
    let users = bench.users();
    let ((ann, ann_id), (bob, bob_id)) = (user(&users, "ann").await, user(&users, "bob").await);
    for (num, id) in [(ann, &ann_id), (bob, &bob_id)] {
        let keys = only_master(&Signing::new().key(id, "master"));
        users.cross_signing.upload(num, id, keys).await.unwrap();
        users.backups.create(num, "m.megolm_backup.v1", &raw("{}")).await.unwrap();
    }
    users.deactivate(ann).await.unwrap();
    let users = bench.users();
    let master = async |num, id: &UserId| users.keys.of_user(num, id, &[], None).await.unwrap().master;
    assert_eq!(master(ann, &ann_id).await, None);
    assert!(users.backups.get(ann, None).await.is_err());
    assert!(master(bob, &bob_id).await.is_some() && users.backups.get(bob, None).await.is_ok());
}
