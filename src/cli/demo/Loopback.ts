/**
 * The network of the demo: servers on 127.0.0.1, and a client that reaches nothing else.
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { createServer } from "node:http"
import * as Transport from "../../Transport.ts"

/**
 * One HTTP request that was made, and how long its answer took.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leg {
  readonly origin: string
  readonly method: string
  readonly millis: number
}

/**
 * What one agent sent.
 *
 * @category services
 * @since 0.1.0
 */
export class Legs extends Context.Service<Legs, Ref.Ref<ReadonlyArray<Leg>>>()("effect-mpp/cli/demo/Legs") {}

/**
 * Measures how long an effect takes, in milliseconds.
 *
 * @category combinators
 * @since 0.1.0
 */
export const timed = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const before = yield* Clock.currentTimeNanos
  const value = yield* effect
  const after = yield* Clock.currentTimeNanos
  return { value, millis: Number(after - before) / 1e6 }
})

const guarded = (client: HttpClient.HttpClient, legs: Ref.Ref<ReadonlyArray<Leg>>) =>
  HttpClient.transform(client, (send, request) => {
    const url = Option.getOrUndefined(HttpClientRequest.toUrl(request))
    return url === undefined || !Transport.isLoopback(url)
      ? Effect.die(new Error(`the demo reaches this machine only, and was to send to ${url?.origin}`))
      : Effect.flatMap(timed(send), ({ millis, value }) =>
        Effect.as(
          Ref.update(legs, (known) => [...known, { origin: url.origin, method: request.method, millis }]),
          value
        ))
  })

/**
 * A client that reaches this machine only, and notes what it sends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (): Layer.Layer<HttpClient.HttpClient | Legs> =>
  Layer.effectContext(
    Effect.gen(function*() {
      const legs = yield* Ref.make<ReadonlyArray<Leg>>([])
      return Context.make(Legs, legs).pipe(
        Context.add(HttpClient.HttpClient, guarded(yield* HttpClient.HttpClient, legs))
      )
    })
  ).pipe(Layer.provide(FetchHttpClient.layer))

/**
 * Serves routes on a port of 127.0.0.1 that the system chooses, until the scope closes. What the routes need is told the
 * origin that they are served at.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = Effect.fnUntraced(function*<A, E, R, B, E2, R2>(
  routes: Layer.Layer<A, E, R>,
  services: (origin: string) => Layer.Layer<B, E2, R2>
) {
  const server = yield* NodeHttpServer.make(createServer, {
    host: "127.0.0.1",
    port: 0,
    gracefulShutdownTimeout: "1 second"
  })
  const origin = HttpServer.formatAddress(server.address)
  yield* Layer.build(
    HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provide(services(origin)),
      Layer.provide(Layer.succeed(HttpServer.HttpServer, server)),
      Layer.provide(NodeHttpServer.layerHttpServices)
    )
  )
  return origin
})
