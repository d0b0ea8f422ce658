/** As much of express as the tests use: it brings no types of its own. */
declare module "express" {
  import type { IncomingMessage, ServerResponse } from "node:http"

  export interface Request extends IncomingMessage {
    readonly body: unknown
  }

  export interface Response extends ServerResponse {
    status(code: number): this
    json(body: unknown): this
    send(body: unknown): this
  }

  export type NextFunction = (error?: unknown) => void

  export type Handler = (request: Request, response: Response, next: NextFunction) => unknown

  export interface Application {
    (request: IncomingMessage, response: ServerResponse): void
    use(handler: Handler): this
    get(path: string, handler: Handler): this
    post(path: string, ...handlers: ReadonlyArray<Handler>): this
  }

  const express: {
    (): Application
    raw(options: { readonly type: string }): Handler
  }
  export default express
}
