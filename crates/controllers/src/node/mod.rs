use crate::context::Context;
pub async fn run(_context: Context) {}
