import { type Observable, Subject } from 'rxjs';
import type { SessionEvent } from './session.types.js';

/** The events of sessions, for the application. */
export class SessionEvents {
  private readonly subject = new Subject<SessionEvent>();

  readonly stream: Observable<SessionEvent> = this.subject.asObservable();

  emit(event: SessionEvent): void {
    this.subject.next(event);
  }

  complete(): void {
    this.subject.complete();
  }
}
