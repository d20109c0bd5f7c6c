//! store-rocksdb
