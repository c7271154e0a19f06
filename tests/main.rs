//! What the whole program promises, checked on whole captures. One binary, so that it is linked once.

mod suite;
