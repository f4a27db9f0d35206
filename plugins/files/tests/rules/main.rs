//! The rules of files and folders as sentences, and what the read model makes of what happened.

mod cascade;
mod files;
mod folders;
mod read_model;
mod words;
