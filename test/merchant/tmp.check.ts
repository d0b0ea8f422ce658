import * as Paywall from "../../src/merchant/Paywall.ts"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as Layer from "effect/Layer"
export const L = Paywall.layer({ ways: [Paywall.sessions(), Paywall.x402({ accepts: [] })] })
export const M = Paywall.middleware({ price: "0.01" })
export const R = HttpRouter.serve(HttpRouter.add("GET", "/x", HttpServerResponse.text("x")).pipe(Layer.provide(M.layer))).pipe(Layer.provide(L))
export const x: number = M
export const z: number = R
