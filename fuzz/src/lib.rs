//! The targets of `tests/fuzz`, for libFuzzer.

#[path = "../../tests/fuzz"]
mod fuzz {
    pub mod targets;
}

pub use fuzz::targets;
