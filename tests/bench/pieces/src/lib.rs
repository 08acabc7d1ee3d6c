//! The benches are the package: this library is empty.
