//! tickscope
