import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"
import * as Transport from "../src/Transport.ts"

const secret = "c2VjcmV0LWNyZWRlbnRpYWw"

const credentialed = (url: string) =>
  HttpClientRequest.get(url).pipe(
    HttpClientRequest.setHeaders({
      "payment-signature": secret,
      "x-payment": secret,
      "payment-authorization": secret,
      "sign-in-with-x": secret,
      authorization: `Payment ${secret}`,
      accept: "text/plain"
    })
  )

/** The transport over `fetch`, with a `fetch` that only notes what it is given. */
const recording = (options?: Transport.Options) => {
  const seen: Array<{ readonly url: string; readonly init: RequestInit }> = []
  const fetch: typeof globalThis.fetch = (url, init) => {
    seen.push({ url: String(url), init: init ?? {} })
    return Promise.resolve(new Response("ok"))
  }
  const layer = Transport.layerWith(options).pipe(
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch))
  )
  return { seen, layer }
}

const overClient = (client: HttpClient.HttpClient, options?: Transport.Options) =>
  Transport.layerWith(options).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))

const failingWith = (cause: unknown) =>
  HttpClient.make((request) =>
    Effect.fail(
      new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
    )
  )

const errorWith = (members: object) => Object.assign(new Error("failed"), members)

const serve = (listener: http.RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer(listener)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`))

/** Every way in which a program is likely to print a value. */
const printed = (value: unknown) => [inspect(value, { depth: 10 }), JSON.stringify(value), String(value)].join("\n")

describe("Transport", () => {
  describe("redirects", () => {
    it.effect("are not followed, and carry no credential to another place", () =>
      Effect.gen(function*() {
        const reached: Array<http.IncomingHttpHeaders> = []
        const other = yield* serve((request, response) => {
          reached.push(request.headers)
          response.end("elsewhere")
        })
        const origin = yield* serve((_, response) => response.writeHead(307, { location: `${other}/` }).end())
        for (const platform of [FetchHttpClient.layer, NodeHttpClient.layerNodeHttp, NodeHttpClient.layerUndici]) {
          const status = yield* Transport.Transport.use((client) => client.execute(credentialed(origin))).pipe(
            Effect.map((response) => response.status),
            Effect.provide(Transport.layer.pipe(Layer.provide(platform)))
          )
          assert.strictEqual(status, 307)
        }
        assert.deepStrictEqual(reached, [])
      }))

    it.effect("the caller's RequestInit survives beside the manual redirect", () => {
      const { layer, seen } = recording({ requestInit: { credentials: "include", cache: "no-store" } })
      return Effect.gen(function*() {
        const client = yield* Transport.Transport
        yield* client.get("https://a.test/")
        yield* client.get("https://a.test/").pipe(
          Effect.provideService(FetchHttpClient.RequestInit, { cache: "reload", redirect: "follow", keepalive: true })
        )
        yield* client.get("https://a.test/").pipe(
          Effect.provideService(FetchHttpClient.RequestInit, { redirect: "error" })
        )
        assert.deepStrictEqual(seen.map(({ init }) => [init.redirect, init.credentials, init.cache, init.keepalive]), [
          ["manual", "include", "no-store", undefined],
          ["manual", "include", "reload", true],
          ["error", "include", "no-store", undefined]
        ])
      }).pipe(Effect.provide(layer))
    })

    it.effect("a RequestInit around the layer is taken over", () => {
      const { layer, seen } = recording()
      return Transport.Transport.use((client) => client.get("https://a.test/")).pipe(
        Effect.provide(layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.RequestInit, { mode: "cors" })))),
        Effect.map(() =>
          assert.deepStrictEqual(seen.map(({ init }) => [init.mode, init.redirect]), [["cors", "manual"]])
        )
      )
    })
  })

  describe("never pays", () => {
    const paying = (paid: { count: number }, inner: HttpClient.HttpClient) =>
      Transport.markPaying(
        HttpClient.transformResponse(inner, (response) =>
          Effect.flatMap(Transport.Unpaid, (unpaid) =>
            Effect.tap(response, () =>
              Effect.sync(() => {
                if (!unpaid) {
                  paid.count++
                }
              })))),
        inner
      )
    const inner = HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response("ok"))))

    it.effect("what is built on a paying client sends below it", () =>
      Effect.gen(function*() {
        const paid = { count: 0 }
        const heedless = HttpClient.tap(inner, () => Effect.sync(() => paid.count++))
        const client = Transport.markPaying(heedless, inner)
        yield* Transport.Transport.use((transport) => transport.get("https://a.test/")).pipe(
          Effect.provide(overClient(client))
        )
        assert.strictEqual(paid.count, 0)
      }))

    it.effect("a paying client that is hidden in another one is told not to pay", () =>
      Effect.gen(function*() {
        const paid = { count: 0 }
        const hidden = HttpClient.mapRequest(paying(paid, inner), HttpClientRequest.prependUrl("https://a.test"))
        yield* Transport.Transport.use((transport) => transport.get("/b")).pipe(Effect.provide(overClient(hidden)))
        assert.strictEqual(paid.count, 0)
        yield* hidden.get("/b")
        assert.strictEqual(paid.count, 1)
      }))
  })

  it.effect("preprocess runs once, and postprocess alone runs it not at all", () =>
    Effect.gen(function*() {
      const urls: Array<string> = []
      const base = HttpClient.make((request) => {
        urls.push(request.url)
        return Effect.succeed(HttpClientResponse.fromWeb(request, new Response("ok")))
      })
      const client = Transport.make(HttpClient.mapRequest(base, HttpClientRequest.prependUrl("https://a.test")))
      yield* client.get("/b")
      yield* client.postprocess(Effect.succeed(HttpClientRequest.get("https://b.test/c")))
      assert.deepStrictEqual(urls, ["https://a.test/b", "https://b.test/c"])
    }))

  describe("prints no credential", () => {
    const hiddenFrom = (text: string) => assert.isFalse(text.includes(secret), text)

    it.effect("in errors, their causes and their requests", () =>
      Effect.gen(function*() {
        const client = Transport.make(failingWith(errorWith({ code: "ECONNRESET" })))
        const exit = yield* Effect.exit(client.execute(credentialed("https://a.test/")))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) {
          const error = Cause.squash(exit.cause)
          assert.isTrue(HttpClientError.isHttpClientError(error))
          if (HttpClientError.isHttpClientError(error)) {
            hiddenFrom(printed(error.request))
            hiddenFrom(printed(error.reason))
            assert.strictEqual(error.request.headers.accept, "text/plain")
          }
          hiddenFrom(printed(error))
          hiddenFrom(Cause.pretty(exit.cause))
          hiddenFrom(printed(exit.cause))
        }
      }))

    it.effect("in errors that carry a response", () =>
      Effect.gen(function*() {
        const base = HttpClient.make((request) =>
          Effect.succeed(HttpClientResponse.fromWeb(request, new Response("no", { status: 500 })))
        )
        const client = Transport.make(base, { transformClient: HttpClient.filterStatusOk })
        const error = yield* Effect.flip(client.execute(credentialed("https://a.test/")))
        assert.strictEqual(error.reason._tag, "StatusCodeError")
        hiddenFrom(printed(error))
        hiddenFrom(printed(error.request))
      }))

    it.effect("in responses, the request that they answer, and the errors of their bodies", () =>
      Effect.gen(function*() {
        const broken = () =>
          new Response(new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) }), {
            headers: { "payment-response": secret, "content-type": "text/plain" }
          })
        const client = Transport.make(
          HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, broken())))
        )
        const response = yield* client.execute(credentialed("https://a.test/"))
        hiddenFrom(printed(response))
        hiddenFrom(printed(response.request))
        assert.strictEqual(response.headers["payment-response"], secret)
        for (
          const read of [
            response.text,
            Stream.runDrain((yield* client.execute(credentialed("https://a.test/"))).stream)
          ]
        ) {
          const error = yield* Effect.flip(read)
          hiddenFrom(printed(error))
          hiddenFrom(printed(error.request))
          hiddenFrom(printed(error.response))
        }
      }))

    it.effect("in spans, even if a program records every header", () =>
      Effect.gen(function*() {
        const spans: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          }
        })
        const client = Transport.make(HttpClient.make((request) =>
          Effect.succeed(HttpClientResponse.fromWeb(
            request,
            new Response("ok", { headers: { "payment-response": secret, "payment-receipt": secret } })
          ))
        ))
        yield* client.execute(credentialed(`https://a.test/?api_key=${secret}&page=2`)).pipe(
          Effect.provideService(HttpClient.TracerHeaderFilter, () => true),
          Effect.withTracer(tracer)
        )
        assert.isAbove(spans.length, 0)
        for (const span of spans) hiddenFrom(printed([...span.attributes.entries()]))
        assert.isTrue(printed(spans.map((span) => [...span.attributes.entries()])).includes("page=2"))
      }))

    it.effect("in headers that are printed while it sends, beside what the program redacts", () =>
      Effect.gen(function*() {
        let headers: ReadonlyArray<string | RegExp> = []
        let parameters: ReadonlyArray<string | RegExp> = []
        const client = Transport.make(HttpClient.make((request, _url, _signal, fiber) => {
          headers = fiber.getRef(Headers.CurrentRedactedNames)
          parameters = fiber.getRef(UrlParams.CurrentRedactedNames)
          return Effect.succeed(HttpClientResponse.fromWeb(request, new Response("ok")))
        }))
        yield* client.get("https://a.test/").pipe(
          Effect.provideService(Headers.CurrentRedactedNames, ["x-own"]),
          Effect.provideService(UrlParams.CurrentRedactedNames, ["own"])
        )
        assert.deepStrictEqual(headers, ["x-own", ...Transport.redactedHeaders])
        assert.deepStrictEqual(parameters, ["own", ...Transport.redactedParameters])
      }))
  })

  describe("isNotSent", () => {
    const proof = (cause: unknown, options?: Transport.Options) =>
      Effect.map(
        Effect.flip(Transport.make(failingWith(cause), options).get("https://a.test/")),
        Transport.isNotSent
      )
    const refused = { code: "ECONNREFUSED", syscall: "connect" }

    it.effect("a name that did not resolve, a refused connection and a refused certificate are proof", () =>
      Effect.gen(function*() {
        const causes = [
          errorWith(refused),
          new TypeError("fetch failed", { cause: errorWith(refused) }),
          new TypeError("fetch failed", {
            cause: errorWith({ code: "ECONNREFUSED", errors: [errorWith(refused), errorWith(refused)] })
          }),
          new TypeError("fetch failed", { cause: errorWith({ code: "ENOTFOUND", syscall: "getaddrinfo" }) }),
          errorWith({ code: "EAI_AGAIN" }),
          errorWith({ code: "EHOSTUNREACH", syscall: "connect" }),
          errorWith({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" }),
          errorWith({ code: "ERR_TLS_CERT_ALTNAME_INVALID" })
        ]
        for (const cause of causes) assert.isTrue(yield* proof(cause), inspect(cause))
      }))

    it.effect("a reset, a broken pipe, a timeout, an alert and anything unknown are no proof", () =>
      Effect.gen(function*() {
        const cyclic: { cause?: unknown } = {}
        cyclic.cause = cyclic
        const causes = [
          errorWith({ code: "ECONNRESET", syscall: "read" }),
          errorWith({ code: "EPIPE", syscall: "write" }),
          errorWith({ code: "ETIMEDOUT", syscall: "connect" }),
          errorWith({ code: "EHOSTUNREACH", syscall: "read" }),
          errorWith({ code: "UND_ERR_SOCKET" }),
          errorWith({ code: "UND_ERR_HEADERS_TIMEOUT" }),
          errorWith({ code: "ERR_SSL_WRONG_VERSION_NUMBER" }),
          errorWith({ code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" }),
          errorWith({ code: "EPROTO" }),
          errorWith({ errors: [errorWith(refused), errorWith({ code: "ETIMEDOUT" })] }),
          new TypeError("Failed to fetch"),
          "ECONNREFUSED",
          undefined,
          cyclic
        ]
        for (const cause of causes) assert.isFalse(yield* proof(cause), inspect(cause))
        assert.isFalse(Transport.isNotSent(new Error("other")))
        assert.isFalse(Transport.isNotSent(undefined))
      }))

    it.effect("real failures of fetch and node:http are told apart", () =>
      Effect.gen(function*() {
        const resetting = yield* serve((request) => request.socket.destroy())
        const closed = yield* Effect.scoped(serve(() => undefined))
        for (const platform of [FetchHttpClient.layer, NodeHttpClient.layerNodeHttp, NodeHttpClient.layerUndici]) {
          const failure = (url: string) =>
            Transport.Transport.use((client) => Effect.flip(client.get(url))).pipe(
              Effect.provide(Transport.layer.pipe(Layer.provide(platform)))
            )
          assert.isTrue(Transport.isNotSent(yield* failure(closed)))
          assert.isFalse(Transport.isNotSent(yield* failure(resetting)))
        }
        assert.isTrue(Transport.isNotSent(
          yield* Effect.flip(Transport.make(failingWith("unused")).get("not a url"))
        ))
      }))

    it.effect("a refused connection after an attempt that may have left is no proof", () =>
      Effect.gen(function*() {
        let attempt = 0
        const flaky = (first: Effect.Effect<number, "reset">) =>
          HttpClient.make((request) =>
            attempt++ === 0
              ? Effect.matchEffect(first, {
                onSuccess: (status) =>
                  Effect.succeed(HttpClientResponse.fromWeb(request, new Response("", { status }))),
                onFailure: () => failingWith(errorWith({ code: "ECONNRESET" })).execute(request)
              })
              : failingWith(errorWith(refused)).execute(request)
          )
        const retried = (client: HttpClient.HttpClient) => {
          attempt = 0
          return Effect.flip(
            Transport.make(client, {
              transformClient: (self) => HttpClient.retry(HttpClient.filterStatusOk(self), { times: 1 })
            })
              .get("https://a.test/")
          )
        }
        assert.isFalse(Transport.isNotSent(yield* retried(flaky(Effect.fail("reset")))))
        assert.isFalse(Transport.isNotSent(yield* retried(flaky(Effect.succeed(503)))))
        assert.isTrue(Transport.isNotSent(yield* retried(failingWith(errorWith(refused)))))
      }))

    it.effect("a refused connection at the end of a redirect that the client followed is no proof", () =>
      Effect.gen(function*() {
        const following = HttpClient.make((request) =>
          failingWith(errorWith(refused)).execute(HttpClientRequest.setUrl(request, "https://b.test/"))
        )
        assert.isFalse(Transport.isNotSent(yield* Effect.flip(Transport.make(following).get("https://a.test/"))))
        const lost = HttpClient.make((request) =>
          failingWith("unused").execute(HttpClientRequest.setUrl(request, "not a url"))
        )
        assert.isFalse(Transport.isNotSent(yield* Effect.flip(Transport.make(lost).get("https://a.test/"))))
      }))
  })

  describe("a hook below payment", () => {
    type Attempt = "reset" | "refused" | "hang" | number

    /** A server that behaves as it is told, attempt by attempt, and the statuses and requests that it saw. */
    const server = (script: ReadonlyArray<Attempt>) => {
      const seen: Array<Headers.Headers> = []
      const client = HttpClient.make((request) => {
        const attempt = script[seen.length]
        seen.push(request.headers)
        if (attempt === "hang") return Effect.never
        if (typeof attempt === "number") {
          return Effect.succeed(HttpClientResponse.fromWeb(request, new Response("body", { status: attempt })))
        }
        const code = attempt === "refused" ? "ECONNREFUSED" : "ECONNRESET"
        return failingWith(errorWith({ code, syscall: "connect" })).execute(request)
      })
      return { client, seen }
    }

    const send = Effect.fnUntraced(function*(
      script: ReadonlyArray<Attempt>,
      transformClient: Transport.Options["transformClient"],
      request = HttpClientRequest.setHeader(
        HttpClientRequest.get("https://a.test/"),
        "authorization",
        `Payment ${secret}`
      )
    ) {
      const { client, seen } = server(script)
      const fiber = yield* Effect.forkChild(Effect.result(Transport.make(client, { transformClient }).execute(request)))
      yield* TestClock.adjust("1 minute")
      const result = yield* Fiber.join(fiber)
      return { result, attempts: seen.length }
    })

    const retryTimes = (times: number) => (client: HttpClient.HttpClient) => HttpClient.retry(client, { times })
    const retryTransientTimes = (times: number) => (client: HttpClient.HttpClient) =>
      HttpClient.retryTransient(client, { times })

    const statusOf = (result: Result.Result<HttpClientResponse.HttpClientResponse, unknown>) =>
      Result.match(result, { onFailure: () => 0, onSuccess: ({ status }) => status })

    it.effect("hands back the answer that a credential got, however often it would retry", () =>
      Effect.gen(function*() {
        const retries = [
          (client: HttpClient.HttpClient) => HttpClient.retryTransient(client, { schedule: Schedule.forever }),
          retryTransientTimes(3),
          (client: HttpClient.HttpClient) => HttpClient.retry(HttpClient.filterStatusOk(client), { times: 3 })
        ]
        for (const retry of retries) {
          const { attempts, result } = yield* send([503, 200], retry)
          assert.deepStrictEqual({ attempts, status: statusOf(result) }, { attempts: 1, status: 503 })
          assert.strictEqual(yield* Result.getOrThrow(result).text, "body")
        }
      }))

    it.effect("hands back the failure of a credential that may have left, which is no proof that it did not", () =>
      Effect.gen(function*() {
        const { attempts, result } = yield* send(["reset", 200], retryTimes(3))
        assert.strictEqual(attempts, 1)
        assert.isTrue(Result.isFailure(result) && !Transport.isNotSent(result.failure))
        assert.include(inspect(result, { depth: 10 }), "ECONNRESET")
        assert.notInclude(printed(result), secret)
      }))

    it.effect("does not send a credential again that was given up while it was under way", () =>
      Effect.gen(function*() {
        const impatient = (client: HttpClient.HttpClient) =>
          HttpClient.retry(
            HttpClient.transform(client, (attempt, request) =>
              Effect.timeoutOrElse(attempt, {
                duration: "1 second",
                orElse: () => failingWith(new Error("timeout")).execute(request)
              })),
            { times: 3 }
          )
        const { attempts, result } = yield* send(["hang", 200], impatient)
        assert.strictEqual(attempts, 1)
        assert.isTrue(Result.isFailure(result) && !Transport.isNotSent(result.failure))
        assert.notInclude(printed(result), secret)
        const hedging = (client: HttpClient.HttpClient) =>
          HttpClient.transformResponse(
            client,
            (attempt) => Effect.raceFirst(attempt, Effect.delay(attempt, "1 second"))
          )
        assert.strictEqual((yield* send(["hang", 200], hedging)).attempts, 1)
      }))

    it.effect("may retry a credential whose connection was refused, until it may have left", () =>
      Effect.gen(function*() {
        const retry = retryTransientTimes(5)
        const served = yield* send(["refused", "refused", 200], retry)
        assert.deepStrictEqual([served.attempts, statusOf(served.result)], [3, 200])
        const failed = yield* send(["refused", 503, 200], retry)
        assert.deepStrictEqual([failed.attempts, statusOf(failed.result)], [2, 503])
        const refused = yield* send(["refused", "refused", "refused"], retryTimes(2))
        assert.isTrue(Result.isFailure(refused.result) && Transport.isNotSent(refused.result.failure))
      }))

    it.effect("may retry what carries no credential of ours", () =>
      Effect.gen(function*() {
        const free = HttpClientRequest.get("https://a.test/")
        for (const request of [free, HttpClientRequest.bearerToken(free, "own")]) {
          const { attempts, result } = yield* send(
            [503, "reset", 200],
            retryTransientTimes(5),
            request
          )
          assert.deepStrictEqual([attempts, statusOf(result)], [3, 200])
        }
      }))

    it.effect("carries no credential along a redirect that it follows", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const client = HttpClient.make((request) => {
          seen.push(request.url)
          return Effect.succeed(
            HttpClientResponse.fromWeb(
              request,
              new Response(null, { status: 307, headers: { location: "https://b.test/" } })
            )
          )
        })
        const transport = Transport.make(client, { transformClient: HttpClient.followRedirects(3) })
        assert.strictEqual((yield* transport.execute(credentialed("https://a.test/"))).status, 307)
        assert.deepStrictEqual(seen, ["https://a.test/"])
      }))

    it.effect("that fails with an error of its own fails as a transport does, and shows no credential", () =>
      Effect.gen(function*() {
        const impatient = (client: HttpClient.HttpClient) =>
          HttpClient.transformResponse(client, Effect.timeout("1 second")) as HttpClient.HttpClient
        const { result } = yield* send(["hang"], impatient)
        assert.isTrue(Result.isFailure(result))
        if (Result.isFailure(result)) {
          assert.strictEqual(result.failure.reason._tag, "TransportError")
          assert.include(result.failure.message, "TimeoutError")
          assert.isFalse(Transport.isNotSent(result.failure))
        }
        const leaking = (client: HttpClient.HttpClient) =>
          HttpClient.transform(client, (_, request) => Effect.fail({ request } as never)) as HttpClient.HttpClient
        assert.notInclude(printed(yield* send([], leaking)), secret)
      }))
  })

  describe("readText", () => {
    const response = (body: BodyInit | null) =>
      HttpClientResponse.fromWeb(HttpClientRequest.get("https://a.test/"), new Response(body))
    const chunks = (count: number, pulled: { count: number }) =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          pulled.count++
          if (pulled.count > count) controller.close()
          else controller.enqueue(new Uint8Array(1024).fill(97))
        }
      })

    it.effect("reads a body of any bytes up to the cap", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* Transport.readText(response("größe")), Option.some("größe"))
        assert.deepStrictEqual(yield* Transport.readText(response(null)), Option.some(""))
        assert.deepStrictEqual(
          yield* Transport.readText(response(chunks(4, { count: 0 })), 4096),
          Option.some("a".repeat(4096))
        )
      }))

    it.effect("stops reading at the cap", () =>
      Effect.gen(function*() {
        const pulled = { count: 0 }
        assert.deepStrictEqual(yield* Transport.readText(response(chunks(1e6, pulled)), 4096), Option.none())
        assert.isBelow(pulled.count, 16)
      }))

    it.effect.prop(
      "a text that is cut into pieces at any byte is read as it was",
      { text: Schema.String, size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 7 })) },
      ({ size, text }) =>
        Effect.gen(function*() {
          const bytes = new TextEncoder().encode(text)
          const pieces = Array.from(
            { length: Math.ceil(bytes.length / size) },
            (_, index) => bytes.slice(index * size, (index + 1) * size)
          )
          const stream = new ReadableStream<Uint8Array>({
            start(controller) {
              for (const piece of pieces) controller.enqueue(piece)
              controller.close()
            }
          })
          const read = yield* Transport.readText(response(stream))
          assert.deepStrictEqual(read, Option.some(new TextDecoder().decode(bytes)))
        })
    )
  })

  it("a secret travels over https, or over http on this machine", () => {
    const secure = [
      "https://a.test/",
      "http://localhost:3000/x",
      "http://127.0.0.1",
      "http://127.255.0.9:1/",
      "http://[::1]:8545"
    ]
    const insecure = [
      "http://a.test",
      "http://localhost.a.test",
      "http://127.0.0.1.a.test",
      "http://127.0.0.1@a.test/",
      "http://0.0.0.0/",
      "http://[::ffff:127.0.0.1]/",
      "http://10.0.0.1/",
      "ftp://127.0.0.1/",
      "ws://127.0.0.1/",
      "",
      "https//a"
    ]
    for (const url of secure) assert.isTrue(Transport.isSecure(url), url)
    for (const url of insecure) assert.isFalse(Transport.isSecure(url), url)
  })

  it.effect("interrupting a request aborts it", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const aborted = yield* Deferred.make<void>()
      const client = Transport.make(HttpClient.make((_request, _url, signal) => {
        signal.addEventListener("abort", () => Deferred.doneUnsafe(aborted, Effect.void))
        return Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      }))
      const fiber = yield* Effect.forkChild(client.get("https://a.test/"))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(aborted)
    }))
})
