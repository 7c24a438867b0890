//! What takes longer than anybody waits for it, or wants a machine to itself: run where `VK_TEST_SLOW` is set.

mod many;
mod rest;
mod seam;
