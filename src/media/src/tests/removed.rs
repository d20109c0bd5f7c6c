use axum::body::Body;
use http::Method;
use serde_json::json;

use super::{Answer, TestMedia};
use crate::MediaConfig;

const MIB: usize = 1 << 20;

impl TestMedia {
    async fn admin(&self, method: Method, who: &str, what: &str) -> Answer {
        self.request(method, who, &format!("/_synapse/admin/v1/media/{what}"), &[], Body::empty()).await
    }
}

#[tokio::test]
async fn an_administrator_keeps_a_file_from_everybody_and_removes_it() {
    let test = TestMedia::new();
    let id = test.upload("", "text/plain", "hello").await.id();
    let path = format!("hs/{id}");
    let quarantine = format!("quarantine/{path}");
    test.admin(Method::POST, "alice", &quarantine).await.refused(403, "M_FORBIDDEN");
    test.admin(Method::POST, "", &quarantine).await.refused(401, "M_MISSING_TOKEN");
    test.download(&path).await.ok();
    assert_eq!(test.admin(Method::POST, "root", &quarantine).await.ok().json(), json!({}));
    test.download(&path).await.refused(404, "M_NOT_FOUND");
    test.admin(Method::POST, "root", &format!("unquarantine/{path}")).await.ok();
    test.download(&path).await.ok();
    test.admin(Method::DELETE, "alice", &path).await.refused(403, "M_FORBIDDEN");
    let removed = test.admin(Method::DELETE, "root", &path).await.ok().json();
    assert_eq!(removed, json!({"deleted_media": [id], "total": 1}));
    test.download(&path).await.refused(404, "M_NOT_FOUND");
    test.admin(Method::DELETE, "root", &path).await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.objects().await, (0, 0), "nor is it on the disk");
}

#[tokio::test]
async fn a_file_of_another_server_is_removed_unless_it_is_quarantined() {
    let test = TestMedia::new();
    test.others.has("theirs", "text/plain", b"theirs".to_vec());
    test.download("far/theirs").await.ok();
    test.admin(Method::DELETE, "root", "far/theirs").await.ok();
    assert_eq!(test.objects().await, (0, 0));
    test.download("far/theirs").await.ok();
    assert_eq!(test.others.asked(), 2);
    test.admin(Method::POST, "root", "quarantine/far/theirs").await.ok();
    test.admin(Method::DELETE, "root", "far/theirs").await.refused(404, "M_NOT_FOUND");
    test.download("far/theirs").await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.others.asked(), 2, "else it would be fetched again");
}

#[tokio::test]
async fn all_files_of_a_user_can_be_removed() {
    let test = TestMedia::new();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(test.upload("", "text/plain", format!("file {n}")).await.id());
    }
    let reserved = test.create("alice").await.id();
    let others = test.create("bob").await.id();
    test.upload_to("bob", &others, "of bob").await.ok();
    test.media.remove_all_of(1).await.unwrap();
    for id in &ids {
        test.download(&format!("hs/{id}")).await.refused(404, "M_NOT_FOUND");
    }
    test.upload_to("alice", &reserved, "late").await.refused(404, "M_NOT_FOUND");
    test.download(&format!("hs/{others}")).await.ok();
    assert_eq!(test.objects().await, (1, 0));
    test.media.remove_all_of(1).await.unwrap();
}

#[tokio::test]
async fn a_user_has_so_much_room() {
    let test = TestMedia::with(MediaConfig { user_quota_mib: 2, ..MediaConfig::default() });
    let first = test.upload("", "text/plain", vec![b'a'; MIB]).await.id();
    test.upload("", "text/plain", vec![b'a'; MIB + 1]).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.objects().await, (1, 0));
    test.upload("", "text/plain", vec![b'a'; MIB]).await.id();
    test.upload("", "text/plain", "x").await.refused(403, "M_FORBIDDEN");
    // Others have their own, and what is removed is free again.
    let others = test.create("bob").await.id();
    test.upload_to("bob", &others, "x").await.ok();
    test.admin(Method::DELETE, "root", &format!("hs/{first}")).await.ok();
    test.upload("", "text/plain", vec![b'a'; MIB]).await.id();
    test.upload("", "text/plain", "x").await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn whoever_has_no_room_left_is_told_where_to_read_about_it() {
    let page = "https://hs.example/limits";
    let config = MediaConfig { user_quota_mib: 1, user_quota_page: Some(page.to_owned()), ..MediaConfig::default() };
    let test = TestMedia::with(config);
    let refusal = test.upload("", "text/plain", vec![b'a'; MIB + 1]).await.refused(403, "M_USER_LIMIT_EXCEEDED");
    assert_eq!(refusal["info_uri"], page);
    test.upload("", "text/plain", vec![b'a'; MIB]).await.id();
    test.upload("", "text/plain", "x").await.refused(403, "M_USER_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn files_from_before_anything_was_counted_count() {
    let test = TestMedia::new();
    test.upload("", "text/plain", vec![b'a'; MIB]).await.id();
    let mut write = test.media.db.write();
    write.delete(&crate::tables::STORED, &1);
    write.commit().await.unwrap();
    let test = test.restarted(MediaConfig { user_quota_mib: 1, ..MediaConfig::default() });
    test.upload("", "text/plain", "x").await.refused(403, "M_FORBIDDEN");
}
