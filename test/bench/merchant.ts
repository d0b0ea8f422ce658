/** Our merchant: the same answer for nothing, and for a draw on a token session. Run by the benchmark as a process. */
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { serve as serveRoutes } from "../../src/cli/demo/Loopback.ts"
import { Paywall, SessionAuthority } from "../../src/merchant/index.ts"
import { answer } from "./answer.ts"
import { serve } from "./child.ts"

const credential = "bench_credential"

const Authority = SessionAuthority.layer({
  accounts: [{ credential: Redacted.make(credential), balanceUsd: 1_000_000_000n }]
}).pipe(Layer.provide(SecureRandom.layerWebCrypto))

const handler = Effect.sync(() => HttpServerResponse.jsonUnsafe(answer))

const routes = Layer.mergeAll(
  SessionAuthority.routes,
  HttpRouter.add("GET", "/free", handler),
  Paywall.route("GET", "/sold", { price: "0.0001" }, handler)
)

serve(Effect.map(
  serveRoutes(
    routes,
    (origin) =>
      Paywall.layer({ origin, ways: [Paywall.sessions({ endpoint: `${origin}/session` })] }).pipe(
        Layer.provide(SecureRandom.layerWebCrypto),
        Layer.provideMerge(Authority)
      )
  ),
  (origin) => ({ origin, endpoint: `${origin}/session`, credential })
))
