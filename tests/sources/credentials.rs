//! Credentials that are refused are named, and nothing is lost by it.

use crate::application::Application;
use crate::endtoend::until;
use crate::world::World;

const CHANGES: usize = 10;

/// The application's secret changes while the source runs; later the source is told the new one.
pub async fn tell<A: Application>(world: &mut World<A>) {
    world.started("one").await;
    world.change(CHANGES).await;
    world.arrived().await;

    world.application.lock().await;
    world.change(CHANGES).await;
    let expected = world.application.expected_refusal();
    let mut last = None;
    until(&format!("the refusal says {expected:?}"), async || {
        let said = A::refusal(world).await;
        if said.is_some() && said != last {
            eprintln!("{}: {}", A::NAME, said.as_deref().unwrap_or_default());
        }
        last.clone_from(&said);
        let said = said?;
        expected.iter().all(|part| said.contains(part)).then_some(())
    })
    .await;
    let shown = shown(world).await;
    for secret in A::SECRETS {
        assert!(!shown.contains(secret), "a secret is shown: {shown}");
    }

    world.application.unlock().await;
    world.set_secret(A::SECRETS[1]);
    world.holds().await;
    assert!(!world.logs().contains(A::SECRETS[1]), "the new secret is in the log");
}

/// All that is said of it.
async fn shown<A: Application>(world: &World<A>) -> String {
    let mut shown = world.logs();
    for page in ["/status", "/metrics", "/configuration"] {
        shown += &world.folder().operators().get(page).await.expect(page).1;
    }
    let status = world.folder().ask(&["status"]).await;
    shown + &status.stdout + &status.stderr
}
