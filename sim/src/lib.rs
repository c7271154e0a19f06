//! A small fake market whose truth is known.
