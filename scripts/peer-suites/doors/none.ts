/**
 * Loaded before a test that runs without us, so that it begins as through a door: to import node:http from a
 * module makes Node load its own undici, which is the global dispatcher from then on.
 */
import "node:http";
import "node:http2";
import "node:https";
